"""A device that stands in for a GPU: tensors that claim to be there, and are computed with here.

Values are real and lie in the CPU's memory, so loops that look at them run as they would. What is
watched is where tensors are said to be: an operation on tensors of both places fails as it does on
a GPU, and so does numpy's look at a tensor that is there. Row numbers on the CPU fail, too, which a
GPU takes: it copies them first, and a benchmark would count that.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

THERE = torch.device("cuda", 0)
_ATEN = torch.ops.aten
_COPIES = {_ATEN.copy_.default, _ATEN._foreach_copy_.default}
# Elsewhere a number on the CPU may meet tensors of the GPU.
_WITHOUT_NUMBERS = {_ATEN.cat.default, _ATEN.stack.default}
_MOVES = {torch.Tensor.to, torch.Tensor.cuda, torch.Tensor.cpu}
_READS = {torch.Tensor.numpy, torch.Tensor.__array__}


class Places:
    """Which storages are on the stand-in.

    Weak references keep a storage's address from being used again, not its memory.
    """

    def __init__(self) -> None:
        self._there: dict[int, StorageWeakRef] = {}

    def holds(self, tensor: Tensor) -> bool:
        return _storage(tensor)._cdata in self._there

    def put(self, tensor: Tensor, there: bool) -> None:
        storage = _storage(tensor)
        if there:
            self._there[storage._cdata] = StorageWeakRef(storage)
        else:
            self._there.pop(storage._cdata, None)


def _storage(tensor: Tensor) -> Any:
    if tensor.layout == torch.sparse_coo:
        tensor = tensor._values()
    elif tensor.layout == torch.sparse_csr:
        tensor = tensor.values()
    return tensor.untyped_storage()


class _Operations(TorchDispatchMode):
    """Refuses operations on tensors of both places; results are where the arguments are."""

    def __init__(self, places: Places) -> None:
        super().__init__()
        self.places = places

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        with torch._C.DisableTorchFunction():
            tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
            there = any(self.places.holds(tensor) for tensor in tensors)
            if func not in _COPIES:
                self._check(func, args, tensors)
            result = func(*args, **kwargs)
            if there and func not in _COPIES:
                for tensor in tree_leaves(result):
                    if isinstance(tensor, Tensor):
                        self.places.put(tensor, True)
            return result

    def _check(self, func: Any, args: Any, tensors: list[Tensor]) -> None:
        holds = self.places.holds
        if func.namespace == "rlmrec_fast":
            # Seeds are read on either side, cutoffs on the CPU.
            cutoffs = args[3] if func is torch.ops.rlmrec_fast.ranking_metrics.default else None
            tensors = [x for x in tensors if x is not cutoffs and (x.numel() > 1 or holds(x))]
        elif func not in _WITHOUT_NUMBERS:
            tensors = [x for x in tensors if x.dim() or holds(x)]
        if len({holds(tensor) for tensor in tensors}) > 1:
            raise RuntimeError(f"{func}: found two different devices, {THERE} and cpu")


class _Calls(TorchFunctionMode):
    """Tells where tensors are, and moves them and makes new ones where it is asked to."""

    def __init__(self, places: Places) -> None:
        super().__init__()
        self.places = places

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func == torch.Tensor.device.__get__:
            return THERE if self.places.holds(args[0]) else func(*args)
        if func == torch.Tensor.is_cuda.__get__:
            return self.places.holds(args[0])
        if func == torch.Tensor.is_cpu.__get__:
            return not self.places.holds(args[0])
        if func in _READS and self.places.holds(args[0]):
            raise TypeError(f"can't convert {THERE} device type tensor to numpy")
        if func in _MOVES:
            return self._move(func, args, kwargs)
        asked = kwargs.get("device")
        if asked is None:
            return func(*args, **kwargs)
        there = torch.device(asked).type == "cuda"
        generator = kwargs.get("generator")
        if there and generator is not None:
            raise RuntimeError(f"Expected a '{THERE}' device type for generator but found 'cpu'")
        result = func(*args, **kwargs | {"device": "cpu"})
        self.places.put(result, there)
        return result

    def _move(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Tensor:
        tensor, *rest = args
        rest += [kwargs.get("device"), kwargs.get("dtype")]
        rest += [name for name in ("cuda", "cpu") if func.__name__ == name]
        dtypes = [x for x in rest if isinstance(x, torch.dtype)]
        places = [torch.device(x) for x in rest if isinstance(x, (str, torch.device))]
        result = tensor.to(*dtypes) if dtypes else tensor
        there = self.places.holds(tensor)
        for place in places:
            if (place.type == "cuda") != there:
                result = result.clone()
                self.places.put(result, not there)
        return result


@contextmanager
def stand_in() -> Iterator[None]:
    """While it lasts, the device `cuda` is the stand-in."""
    places = Places()
    with _Operations(places), _Calls(places):
        yield


class Rerun:
    """Stands in for what records CUDA graphs: a replay leaves what the recording has done."""

    def __init__(self, *_: object) -> None:
        self.recorded = 0

    def warm_up(self, work: Any) -> Any:
        return work()

    def record(self, work: Any) -> Any:
        self.recorded += 1
        return work(), lambda: None
