"""What can be said of CUDA without a GPU: who is called, with which shapes, and who refuses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import run_isolated
from raw_calls import raw_calls
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import tree_leaves, tree_map_only

from rlmrec_fast._library import build_info, refused

NAMESPACE = "rlmrec_fast::"
CUDA = torch._C.DispatchKeySet(torch._C.DispatchKey.CUDA)
BUILT = bool((build_info() or {}).get("cuda"))
# They allocate as much as they find where they are not padded.
SIZED_BY_DATA = {"distinct", "draw_subgraphs"}


def operators() -> list[str]:
    names = torch._C._dispatch_get_all_op_names()
    return sorted(n.removeprefix(NAMESPACE) for n in names if n.startswith(NAMESPACE))


def call_cuda(name: str, arguments: tuple[Any, ...]) -> Any:
    """Calls the kernel for CUDA tensors, wherever the tensors are."""
    return getattr(torch.ops.rlmrec_fast, name).default.redispatch(CUDA, *arguments)


def like_on_cuda(tensor: Tensor) -> Tensor:
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="cuda")


def test_every_operator_answers_calls_on_cuda_devices():
    for name in operators():
        assert torch._C._dispatch_has_kernel_for_dispatch_key(NAMESPACE + name, "CUDA"), name
    assert refused == (set() if BUILT else set(raw_calls()))


@pytest.mark.parametrize("name", raw_calls())
def test_tensors_on_the_cpu_are_refused_by_name(name):
    for call in raw_calls()[name]:
        call = tree_map_only(Tensor, Tensor.detach, call)
        if name in refused:
            with pytest.raises(NotImplementedError, match=f'{name}: .*; use device="cpu"'):
                call_cuda(name, call)
        else:
            with pytest.raises(ValueError, match=r"\w+: \w.* must be on a CUDA device \(got cpu\)"):
                call_cuda(name, call)


@pytest.mark.parametrize("name", raw_calls())
def test_fake_cuda_tensors_give_shapes_types_and_device(name):
    operator = getattr(torch.ops.rlmrec_fast, name).default
    for call in raw_calls()[name]:
        if name in SIZED_BY_DATA and not call[-1]:
            continue
        call = tree_map_only(Tensor, Tensor.detach, call)
        expected = tree_leaves(operator(*call))
        with FakeTensorMode():
            fake = tree_map_only(Tensor, like_on_cuda, call)
            found = tree_leaves(operator(*fake))
        assert len(found) == len(expected)
        for ours, wanted in zip(found, expected, strict=True):
            assert ours.device.type == "cuda"
            assert ours.shape == wanted.shape, name
            assert ours.dtype == wanted.dtype, name


def test_without_kernels_the_message_names_the_cure():
    code = """
import rlmrec_fast._library as library
library.build_info = lambda: {"cuda": False}
try:
    library._refusal("rank")()
except NotImplementedError as error:
    print(error)
"""
    ((status, output),) = run_isolated(code, [None])
    assert status == 0, output
    assert output == (
        'rank: this build has no CUDA kernels; use device="cpu" or build where nvcc is '
        "(see README.md)\n"
    )
