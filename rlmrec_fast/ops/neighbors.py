"""Nearest rows of a table by cosine, and how far two such neighbourhoods agree."""

from __future__ import annotations

import torch
from torch import Tensor

from rlmrec_fast.ops._checks import (
    FLOAT_TYPES,
    STORAGE_TYPES,
    check_integer,
    check_same,
    check_table,
)


def neighbors(table: Tensor, k: int) -> Tensor:
    """The k rows of highest cosine similarity to each row, itself left out, best first.

    Rows are divided by their largest element and by their length, in the table's type; similarities
    are the products of such rows summed in float64. So proportional rows are equally near, and a
    zero row has similarity 0 to every other one.

    The n x n matrix is never stored. Every pair is looked at once, for both of its rows, by a
    product of 16-bit integers, and the similarities of those that may be among the k best within
    its error bound are then computed as above. Memory: a copy of the table, half of one in
    integers, and about 2 k pairs of 8 bytes a row. Time grows with n^2 d. A GPU computes all
    similarities instead, from a float64 copy of the table, and is waited for once.

    Args:
        table: [n, d], float32 or float64 (16-bit tables are read as float32), finite.
        k: how many neighbours, >= 1; may exceed n - 1.

    Returns:
        int64 [n, k] row numbers; equal similarities are ordered by lower number. Where fewer than
        k other rows exist, the rest is -1.

    Raises:
        TypeError: an argument is of a wrong type.
        ValueError: a shape or value is out of range, or a row is not finite.
    """
    check_table("neighbors", "table", table, STORAGE_TYPES)
    check_integer("neighbors", "k", k)
    if k < 1:
        raise ValueError(f"neighbors: k must be at least 1 (got {k})")
    table = table.detach() if table.dtype in FLOAT_TYPES else table.detach().float()
    found: Tensor = torch.ops.rlmrec_fast.neighbors(table, k)
    return found


def neighbor_overlap(first: Tensor, second: Tensor) -> Tensor:
    """Jaccard index |A n B| / |A u B| of the neighbours of each row in two tables.

    Args:
        first: int64 [n, k], distinct numbers in each row, -1 for none, as `neighbors` returns.
        second: int64 [n, m], likewise.

    Returns:
        float64 [n]; 1 where both neighbourhoods are empty.

    Raises:
        TypeError: an argument is of a wrong type.
        ValueError: the shapes differ, or a row names a neighbour twice.
    """
    for name, ids in (("first", first), ("second", second)):
        _check_neighbors(name, ids)
    if len(second) != len(first):
        raise ValueError(
            f"neighbor_overlap: second must have {len(first)} rows like first (got {len(second)})"
        )
    check_same("neighbor_overlap", ("first", first), ("second", second))
    overlap: Tensor = torch.ops.rlmrec_fast.neighbor_overlap(first, second)
    return overlap


def _check_neighbors(name: str, ids: Tensor) -> None:
    if not isinstance(ids, Tensor):
        raise TypeError(f"neighbor_overlap: {name} must be a tensor (got {type(ids).__name__})")
    if ids.dtype != torch.int64:
        raise TypeError(f"neighbor_overlap: {name} must be of type int64 (got {ids.dtype})")
    if ids.dim() != 2:
        raise ValueError(
            f"neighbor_overlap: {name} must have two dimensions (got {tuple(ids.shape)})"
        )


@torch.library.register_fake("rlmrec_fast::neighbors")
def _fake(table: Tensor, k: int) -> Tensor:
    return table.new_empty((table.shape[0], k), dtype=torch.int64)


@torch.library.register_fake("rlmrec_fast::neighbor_overlap")
def _fake_overlap(first: Tensor, second: Tensor) -> Tensor:
    return first.new_empty(first.shape[0], dtype=torch.float64)
