"""Checks of arguments that operators share. Messages read ``op: NAME must ... (got ...)``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

import torch
from torch import Tensor

from rlmrec_fast.graph import InteractionGraph
from rlmrec_fast.symmetric import SymmetricGraph

STORAGE_TYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
FLOAT_TYPES = (torch.float32, torch.float64)


def accumulation_type(storage: torch.dtype) -> torch.dtype:
    """The type that tables are accumulated in: float64 for float64, else float32."""
    return torch.float64 if storage == torch.float64 else torch.float32


def check_table(
    op: str, name: str, value: Tensor, types: Sequence[torch.dtype], rows: int | None = None
) -> None:
    """Refuses what is not a two-dimensional tensor of one of the types, with the rows wanted."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{op}: {name} must be a tensor (got {type(value).__name__})")
    if value.dim() != 2:
        raise ValueError(f"{op}: {name} must have two dimensions (got {tuple(value.shape)})")
    if value.dtype not in types:
        wanted = ", ".join(str(t).removeprefix("torch.") for t in types)
        raise TypeError(f"{op}: {name} must be of type {wanted} (got {value.dtype})")
    if rows is not None and value.shape[0] != rows:
        raise ValueError(f"{op}: {name} must have {rows} rows (got {value.shape[0]})")


def float_tables(op: str, tables: Mapping[str, Tensor], rows: int) -> list[Tensor]:
    """Refuses tables that differ in type, columns or device, or have other rows.

    Returns them with 16-bit ones as float32.
    """
    names = list(tables)
    for name, table in tables.items():
        check_table(op, name, table, STORAGE_TYPES, rows)
    read = [t if t.dtype in FLOAT_TYPES else t.float() for t in tables.values()]
    for name, table in zip(names[1:], read[1:], strict=True):
        if table.shape[1] != read[0].shape[1]:
            raise ValueError(
                f"{op}: {name} must have {read[0].shape[1]} columns like {names[0]} "
                f"(got {table.shape[1]})"
            )
        if table.dtype != read[0].dtype:
            raise TypeError(f"{op}: {name} must be of {names[0]}'s type (got {table.dtype})")
        check_same(op, (names[0], read[0]), (name, table))
    return read


def check_symmetric_graph(op: str, graph: InteractionGraph | SymmetricGraph) -> None:
    """Refuses what is not a graph whose edges go both ways."""
    if not isinstance(graph, (InteractionGraph, SymmetricGraph)):
        raise TypeError(
            f"{op}: graph must be an InteractionGraph or a SymmetricGraph "
            f"(got {type(graph).__name__})"
        )


def check_integer(op: str, name: str, value: int) -> None:
    """Refuses what is not an integer; a bool is none."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{op}: {name} must be an integer (got {type(value).__name__})")


def check_ids(op: str, name: str, value: Tensor) -> Tensor:
    """Refuses what is not a vector of integers; returns int64. Ranges are checked natively."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{op}: {name} must be a tensor (got {type(value).__name__})")
    if value.dtype not in (torch.int64, torch.int32):
        raise TypeError(f"{op}: {name} must be of type int64 or int32 (got {value.dtype})")
    if value.dim() != 1:
        raise ValueError(f"{op}: {name} must have one dimension (got {tuple(value.shape)})")
    return value.long()


def check_same(op: str, first: tuple[str, Tensor], *others: tuple[str, Tensor]) -> None:
    """Refuses tensors that lie on different devices."""
    for name, value in others:
        if value.device != first[1].device:
            raise ValueError(
                f"{op}: {name} must be on {first[1].device} like {first[0]} (got {value.device})"
            )


def check_rows(op: str, name: str, rows: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Refuses what is not CSR rows: (offsets, items). Returns int64 offsets and int32 items."""
    if not isinstance(rows, tuple) or len(rows) != 2:
        raise TypeError(f"{op}: {name} must be a pair of tensors (offsets, items)")
    offsets = check_ids(op, f"{name} offsets", rows[0])
    check_ids(op, f"{name} items", rows[1])
    return offsets, rows[1].int()


def refuse_second_derivative(op: str) -> Callable[..., NoReturn]:
    """A backward formula, for backward operators, that says that they have none themselves."""

    def refuse(*_: object) -> NoReturn:
        raise RuntimeError(f"{op}: must be differentiated once only (got a second time)")

    return refuse
