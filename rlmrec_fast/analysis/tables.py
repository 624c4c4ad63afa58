"""The tables that are compared: one row per item (or user) in every one of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

Floats = np.ndarray[Any, np.dtype[np.float64]]
Ints = np.ndarray[Any, np.dtype[np.int64]]
Table = Tensor | np.ndarray[Any, Any]


class Estimate(NamedTuple):
    """A number with its confidence interval."""

    value: float
    low: float
    high: float


def as_tables(
    where: str, text: Table, tables: Mapping[str, Table]
) -> tuple[Tensor, dict[str, Tensor]]:
    """Brings a table of text vectors and the tables to compare with it into one form.

    Args:
        where: the function that asks, for messages.
        text: `[n, t]` floats.
        tables: name -> `[n, d]` floats, each with a width of its own.

    Returns:
        Finite float32 or float64 tensors on the CPU.

    Raises:
        TypeError: a table is not of floats.
        ValueError: no table, fewer than two rows, NaN or infinity, or rows that do not match.
    """
    texts = as_table(where, "text", text)
    if len(texts) < 2:
        raise ValueError(f"{where}: text must have at least two rows (got {len(texts)})")
    if not tables:
        raise ValueError(f"{where}: tables must name at least one table (got none)")
    return texts, {
        name: as_table(where, f"tables[{name!r}]", table, len(texts))
        for name, table in tables.items()
    }


def as_table(where: str, name: str, table: Table, rows: int | None = None) -> Tensor:
    """Brings one table into its form; see `as_tables`.

    Raises:
        TypeError: it is not of floats.
        ValueError: its shape is wrong, or a row holds NaN or infinity.
    """
    if isinstance(table, np.ndarray):
        if table.dtype not in (np.float16, np.float32, np.float64):
            raise TypeError(f"{where}: {name} must be of floats (got {table.dtype})")
        kept = np.float64 if table.dtype == np.float64 else np.float32
        table = torch.from_numpy(np.array(table, kept))
    if not isinstance(table, Tensor):
        raise TypeError(f"{where}: {name} must be a table (got {type(table).__name__})")
    if not table.is_floating_point():
        raise TypeError(f"{where}: {name} must be of floats (got {table.dtype})")
    if table.dim() != 2 or table.shape[1] == 0:
        raise ValueError(f"{where}: {name} must have shape [n, d] (got {tuple(table.shape)})")
    if rows is not None and len(table) != rows:
        raise ValueError(f"{where}: {name} must have {rows} rows like text (got {len(table)})")
    table = table.detach().cpu()
    table = table if table.dtype == torch.float64 else table.float()
    broken = (~table.isfinite().all(dim=1)).nonzero()
    if len(broken):
        raise ValueError(
            f"{where}: {name} must be finite (got NaN or infinity in {len(broken)} rows, first in "
            f"row {int(broken[0])})"
        )
    return table


def directions(table: Tensor) -> Floats:
    """The rows in float64, divided by their lengths; zero rows stay zero."""
    values: Floats = table.double().numpy()
    # The largest element first: squares of large elements would overflow, of small ones vanish.
    size = np.abs(values).max(axis=1, keepdims=True)
    scaled = values / np.where(size > 0, size, 1.0)
    length = np.sqrt((scaled * scaled).sum(axis=1, keepdims=True))
    unit: Floats = scaled / np.where(length > 0, length, 1.0)
    return unit
