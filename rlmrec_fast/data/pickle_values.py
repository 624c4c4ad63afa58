"""Values that a pickle may hold: numpy arrays, scipy matrices, containers, from checked parts.

`unpickle` runs the pickle's stack machine and calls only what stands here in `BUILDERS`, `KINDS`
and `SPARSE`. Neither numpy's nor scipy's own unpickling code runs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp

# A matrix without entries costs memory by its sides alone once its rows are indexed: 2^27 rows take
# half a gigabyte.
MAX_SIDE = 2**27
MAX_DIMENSIONS = 32

SPARSE = re.compile(r"scipy\.sparse\.(_?(coo|csr|csc)\.)?(?P<layout>coo|csr|csc)_(matrix|array)")
_DTYPE = re.compile(r"b1|[iu][1248]|f[248]|[SU][1-9]\d{0,5}")
_SCALARS = (str, bytes, int, float, type(None), np.generic)

Array = np.ndarray[Any, Any]


class RefusedError(ValueError):
    """The pickle holds something that is not admitted; the message is its name."""


class Inert:
    """What the machine keeps for itself: it may be an argument, but never part of a result."""

    __slots__ = ()


class Name(Inert, str):
    """The dotted name of an admitted class or function."""

    __slots__ = ()


class Arguments(Inert, tuple[Any, ...]):
    """A tuple that holds something inert."""

    __slots__ = ()


class Promise(Inert):
    """An object that was announced and whose content comes later, once, as its state."""

    __slots__ = ("made", "name", "state_to_value", "value")

    def __init__(self, name: str, state_to_value: Callable[[Any], Any]) -> None:
        self.name = name
        self.state_to_value = state_to_value
        self.made = False
        self.value: Any = None

    def __str__(self) -> str:
        return f"{self.name} without content"

    def keep(self, state: Any) -> Any:
        """Makes the value from its state and returns it."""
        if self.made:
            raise RefusedError(f"a second state for {self.name}")
        self.value, self.made = self.state_to_value(state), True
        return self.value


def plain(values: Sequence[Any]) -> Sequence[Any]:
    """Returns the values, none of which may be inert."""
    for value in values:
        if isinstance(value, Inert):
            raise RefusedError(f"{value} where a value must stand")
    return values


def hashable(values: Sequence[Any]) -> Sequence[Any]:
    """Returns the values, all of which must be scalars.

    Nested tuples could be hashed as well, but in time exponential in the file's size.
    """
    for value in plain(values):
        if not isinstance(value, _SCALARS):
            raise RefusedError(f"a {type(value).__name__} as a key")
    return values


def size_of(value: Any) -> int:
    """Bytes of memory, roughly, that a builder took for the value."""
    if isinstance(value, sp.coo_array):
        return int(value.data.nbytes + value.row.nbytes + value.col.nbytes)
    if isinstance(value, np.ndarray):
        return value.nbytes
    return (
        8 * len(value)
        if isinstance(value, (set, frozenset))
        else len(value)
        if isinstance(value, bytes)
        else 0
    )


def _dtype(code: Any, align: Any = False, copy: Any = True) -> Promise:
    if isinstance(code, str) and re.fullmatch(r"O\d*", code):
        raise RefusedError("an array of Python objects")
    if not isinstance(code, str) or not _DTYPE.fullmatch(code):
        raise RefusedError(f"numpy.dtype({code!r})")

    def from_state(state: Any) -> np.dtype[Any]:
        if type(state) is not tuple or len(state) < 5 or state[1] not in ("<", ">", "|", "="):
            raise ValueError("a dtype of unknown byte order")
        if any(part is not None for part in state[2:5]):
            raise RefusedError("a structured dtype")
        return np.dtype(code).newbyteorder(state[1])

    return Promise("numpy.dtype", from_state)


def _array(content: Any, dtype: Any, shape: Any, order: Any) -> Array:
    if not isinstance(dtype, np.dtype):
        raise RefusedError(
            f"an array of {dtype if isinstance(dtype, Inert) else type(dtype).__name__}"
        )
    if type(content) not in (bytes, bytearray):
        raise RefusedError(f"an array made from a {type(content).__name__}")
    shape = (shape,) if type(shape) is int else shape
    if type(shape) is not tuple or len(shape) > MAX_DIMENSIONS:
        raise ValueError("an array of unknown shape")
    size = dtype.itemsize
    for side in shape:
        if type(side) is not int or side < 0:
            raise ValueError(f"an array with a side of {side!r}")
        size *= side
    if size != len(content):
        raise ValueError(f"an array of {size} bytes with {len(content)} bytes of content")
    native = dtype.newbyteorder("=")
    if not size:
        return np.empty(shape, native)
    array: Array = np.frombuffer(content, dtype).reshape(shape, order="F" if order == "F" else "C")
    array = array.astype(native, copy=False)
    array.flags.writeable = False
    return array


def _reconstruct(kind: Any, shape: Any, code: Any) -> Promise:
    if kind != "numpy.ndarray":
        raise RefusedError(f"an array of class {kind}")

    def from_state(state: Any) -> Array:
        if type(state) not in (tuple, Arguments) or len(state) != 5:
            raise ValueError("an array with an unknown state")
        return _array(state[4], state[2], state[1], "F" if state[3] else "C")

    return Promise("numpy.ndarray", from_state)


def _scalar(dtype: Any, content: Any) -> Any:
    return _array(content, dtype, (), "C")[()]


def _bytes(content: Any = b"", encoding: Any = "latin1") -> bytes:
    # Never bytes(n): a short file could ask for any amount of memory.
    if type(content) is str and encoding in ("latin1", "latin-1"):
        return content.encode("latin-1")
    if type(content) is not bytes:
        raise RefusedError(f"bytes made from a {type(content).__name__}")
    return content


def _set(values: Any = ()) -> set[Any]:
    return set(hashable(_list(values)))


def _frozenset(values: Any = ()) -> frozenset[Any]:
    return frozenset(hashable(_list(values)))


def _list(values: Any) -> Sequence[Any]:
    if type(values) not in (list, tuple):
        raise RefusedError(f"a set made from a {type(values).__name__}")
    return plain(values)


def _dict() -> dict[Any, Any]:
    return {}


def _instance(kind: Any, base: Any, state: Any) -> Promise:
    if base != "builtins.object" or state is not None:
        raise RefusedError(f"an instance of {kind} on {base}")
    return sparse(kind, ())


def sparse(kind: Any, arguments: Any) -> Promise:
    """Announces a sparse matrix of an admitted class; its state becomes a checked `coo_array`."""
    match = SPARSE.fullmatch(kind) if isinstance(kind, Name) else None
    if match is None or arguments != ():
        raise RefusedError(
            f"an instance of {kind if isinstance(kind, str) else type(kind).__name__}"
        )
    layout = match["layout"]

    def from_state(state: Any) -> sp.coo_array:
        if type(state) is not dict:
            raise ValueError(f"a {layout} matrix whose state is a {type(state).__name__}")
        shape = state.get("_shape", state.get("shape"))
        if type(shape) is not tuple or len(shape) != 2:
            raise ValueError(f"a {layout} matrix that is not two-dimensional")
        for side in shape:
            if not isinstance(side, (int, np.integer)) or not 0 <= side <= MAX_SIDE:
                raise ValueError(
                    f"a {layout} matrix with a side of {side!r}, outside [0, {MAX_SIDE}]"
                )
        sides = (int(shape[0]), int(shape[1]))
        if layout == "coo":
            return _from_coordinates(state, sides)
        return _from_compressed(state, sides, by_row=layout == "csr")

    return Promise(kind, from_state)


def _vector(value: Any, name: str, kinds: str) -> Array:
    if not isinstance(value, np.ndarray) or value.ndim != 1 or value.dtype.kind not in kinds:
        raise ValueError(f"a matrix whose {name} are not a vector of numbers")
    return value


def _from_coordinates(state: dict[Any, Any], shape: tuple[int, int]) -> sp.coo_array:
    # scipy writes `coords` since 1.13 and wrote `row` and `col` before.
    coords = state.get("coords", (state.get("row"), state.get("col")))
    if type(coords) is not tuple or len(coords) != 2:
        raise ValueError("a matrix whose coordinates are not a pair")
    rows, columns = (_vector(ids, "coordinates", "iu") for ids in coords)
    return _checked(_vector(state.get("data"), "values", "biuf"), rows, columns, shape)


def _from_compressed(state: dict[Any, Any], shape: tuple[int, int], by_row: bool) -> sp.coo_array:
    offsets = _vector(state.get("indptr"), "offsets", "iu").astype(np.int64)
    inner = _vector(state.get("indices"), "indices", "iu")
    data = _vector(state.get("data"), "values", "biuf")
    side = shape[0] if by_row else shape[1]
    if len(offsets) != side + 1 or offsets[0] != 0 or (np.diff(offsets) < 0).any():
        raise ValueError(
            f"a matrix whose {len(offsets)} offsets do not delimit its {side} rows or columns"
        )
    # scipy allows spare room behind the last entry.
    count = int(offsets[-1])
    if count > min(len(inner), len(data)):
        raise ValueError(f"a matrix of {count} entries with {min(len(inner), len(data))} given")
    outer = np.repeat(np.arange(side), np.diff(offsets))
    rows, columns = (outer, inner[:count]) if by_row else (inner[:count], outer)
    return _checked(data[:count], rows, columns, shape)


def _checked(data: Array, rows: Array, columns: Array, shape: tuple[int, int]) -> sp.coo_array:
    if not len(data) == len(rows) == len(columns):
        raise ValueError(
            f"a matrix of {len(data)} values at {len(rows)} rows and {len(columns)} columns"
        )
    for name, ids, side in (("row", rows, shape[0]), ("column", columns, shape[1])):
        wrong = np.flatnonzero((ids < 0) | (ids >= side))
        if len(wrong):
            raise ValueError(f"a matrix with {name} {ids[wrong[0]]} outside [0, {side})")
    return sp.coo_array((data, (rows.astype(np.int32), columns.astype(np.int32))), shape=shape)


# What may be called, by the name it has in a pickle ("numpy._core" and Python 2's names are
# rewritten before).
BUILDERS: dict[str, Callable[..., Any]] = {
    "numpy.dtype": _dtype,
    "numpy.core.multiarray._reconstruct": _reconstruct,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy.core.numeric._frombuffer": _array,
    "_codecs.encode": _bytes,
    "builtins.bytes": _bytes,
    "builtins.bytearray": _bytes,
    "builtins.set": _set,
    "builtins.frozenset": _frozenset,
    "collections.OrderedDict": _dict,
    "copyreg._reconstructor": _instance,
}
# What may only be an argument.
KINDS = frozenset({"numpy.ndarray", "builtins.object"})
