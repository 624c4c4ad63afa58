"""Text vectors of users or items: a table of floats, one row each, memory-mapped from disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rlmrec_fast.errors import DatasetError

Vectors = np.ndarray[Any, np.dtype[Any]]

# Up to this size a look at every value costs less than anything that is done with them later.
CHEAP_BYTES = 256 * 2**20
_BLOCK_BYTES = 16 * 2**20


class VectorFaults(NamedTuple):
    """Rows that carry no direction: counts, and the first one that is not finite (or -1)."""

    zero_rows: int
    non_finite_rows: int
    first_non_finite: int


def check_vectors(vectors: Any, rows: int, name: str) -> None:
    """Checks the form of a table of text vectors.

    Args:
        vectors: The table, [rows, t], float16, float32 or float64, t > 0.
        rows: The number of users or items.
        name: The table's name in messages.

    Raises:
        TypeError: It is not a numpy array of floats in this machine's byte order.
        ValueError: Its shape is wrong.
    """
    if not isinstance(vectors, np.ndarray) or vectors.dtype not in (
        np.float16,
        np.float32,
        np.float64,
    ):
        got = vectors.dtype if isinstance(vectors, np.ndarray) else type(vectors).__name__
        raise TypeError(f"Dataset: {name} must be a numpy array of floats (got {got})")
    if vectors.ndim != 2 or vectors.shape[0] != rows or vectors.shape[1] == 0:
        raise ValueError(
            f"Dataset: {name} must have shape ({rows}, t) with t > 0 (got {vectors.shape})"
        )


def check_finite(vectors: Vectors, name: str) -> None:
    """Reads the whole table and refuses NaN and infinity.

    Raises:
        ValueError: Some row is not finite.
    """
    faults = vector_faults(vectors)
    if faults.non_finite_rows:
        raise ValueError(
            f"Dataset: {name} must be finite (got NaN or infinity in {faults.non_finite_rows} rows,"
            f" first in row {faults.first_non_finite})"
        )


def vector_faults(vectors: Vectors) -> VectorFaults:
    """Counts the rows that are all zero and those with NaN or infinity, a block at a time."""
    zero_rows, non_finite_rows, first = 0, 0, -1
    for start, block in _blocks(vectors):
        broken = np.flatnonzero(~np.isfinite(block).all(axis=1))
        if len(broken) and first < 0:
            first = start + int(broken[0])
        non_finite_rows += len(broken)
        zero_rows += int((~block.any(axis=1)).sum())
    return VectorFaults(zero_rows, non_finite_rows, first)


def _blocks(vectors: Vectors) -> Iterator[tuple[int, Vectors]]:
    step = max(1, _BLOCK_BYTES // (vectors.shape[1] * vectors.itemsize))
    for start in range(0, len(vectors), step):
        yield start, vectors[start : start + step]


def read_vectors(path: Path) -> Vectors:
    """Maps a `.npy` file into memory, read-only.

    Raises:
        DatasetError: The file is damaged or holds Python objects.
    """
    # numpy parses the header as a Python literal, which fails in many ways where it is damaged.
    try:
        vectors = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:
        raise DatasetError(f"{path}: must be a whole .npy file (got {error!r})") from error
    if not isinstance(vectors, np.ndarray):
        raise DatasetError(f"{path}: must be a .npy file (got an archive)")
    return vectors
