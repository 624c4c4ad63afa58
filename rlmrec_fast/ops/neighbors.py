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
from rlmrec_fast.ops.rank import rank


def neighbors(table: Tensor, k: int) -> Tensor:
    """The k rows of highest cosine similarity to each row, itself left out, best first.

    Rows are divided by max(norm, 1e-12), so a zero row has similarity 0 to every other one. The
    n x n matrix is never stored (see `rank`).

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
    table = table.detach()
    table = table if table.dtype in FLOAT_TYPES else table.float()
    finite = table.isfinite().all(dim=1)
    if not bool(finite.all()):
        row = int((~finite).nonzero()[0])
        raise ValueError(f"neighbors: table must be finite (got NaN or infinity in row {row})")
    # The largest element first: squares of large elements would overflow, of small ones vanish.
    size = table.abs().amax(dim=1, keepdim=True) if table.shape[1] else table.new_ones(1, 1)
    scaled = table / torch.where(size > 0, size, 1)
    direction = torch.nn.functional.normalize(scaled, dim=1)
    rows = torch.arange(len(table) + 1, device=table.device)
    return rank(direction, direction, k, exclude=(rows, rows[:-1].int()))[0]


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
    both = torch.cat([first, second], dim=1).sort(dim=1).values
    shared = _repeats(both).sum(dim=1)
    union = (both >= 0).sum(dim=1) - shared
    return torch.where(union > 0, shared.double() / union.clamp(min=1), 1.0)


def _check_neighbors(name: str, ids: Tensor) -> None:
    if not isinstance(ids, Tensor):
        raise TypeError(f"neighbor_overlap: {name} must be a tensor (got {type(ids).__name__})")
    if ids.dtype != torch.int64:
        raise TypeError(f"neighbor_overlap: {name} must be of type int64 (got {ids.dtype})")
    if ids.dim() != 2:
        raise ValueError(
            f"neighbor_overlap: {name} must have two dimensions (got {tuple(ids.shape)})"
        )
    twice = _repeats(ids.sort(dim=1).values).any(dim=1)
    if bool(twice.any()):
        row = int(twice.nonzero()[0])
        raise ValueError(
            f"neighbor_overlap: {name} must not name a neighbour twice (got row {row})"
        )


def _repeats(ids: Tensor) -> Tensor:
    """Where an id in sorted rows equals the one before it."""
    return (ids[:, 1:] == ids[:, :-1]) & (ids[:, 1:] >= 0)
