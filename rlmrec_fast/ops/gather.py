"""Chosen rows of a table, with a gradient that is summed in a fixed order on every device."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rlmrec_fast.ops._autograd import differentiable
from rlmrec_fast.ops._checks import STORAGE_TYPES, check_ids, check_same, check_table


def gather(table: Tensor, rows: Tensor) -> Tensor:
    """``table[rows]``, whose gradient torch would add up in any order on a GPU.

    Args:
        table: [n, d], float32, float64, bfloat16 or float16.
        rows: int64 [m] in [0, n), repeated or not. On a GPU, which nobody stops to look at them, a
            row out of range gives NaN, and its gradient goes nowhere.

    Returns:
        [m, d] of the table's type. Gradients of repeated rows are added in their order.

    Raises:
        TypeError: an argument is of a wrong type.
        ValueError: a shape is wrong, or, on a CPU, a row is out of range.
    """
    check_table("gather", "table", table, STORAGE_TYPES)
    rows = check_ids("gather", "rows", rows)
    check_same("gather", ("table", table), ("rows", rows))
    return gather_rows("gather", table, rows)


def gather_rows(op: str, table: Tensor, rows: Tensor) -> Tensor:
    """`gather` with checked arguments, for the operator that a refusal is to name."""
    try:
        chosen: Tensor = _gather(table, rows)
    except ValueError as error:
        raise ValueError(str(error).replace("gather:", f"{op}:", 1)) from None
    return chosen


@torch.library.register_fake("rlmrec_fast::gather")
def _fake(table: Tensor, rows: Tensor) -> Tensor:
    return table.new_empty(rows.shape[0], table.shape[1])


@torch.library.register_fake("rlmrec_fast::gather_backward")
def _fake_backward(grad: Tensor, rows: Tensor, num_rows: int) -> Tensor:
    return grad.new_empty(num_rows, grad.shape[1])


def _setup(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
    table, rows = inputs
    ctx.num_rows = table.shape[0]
    ctx.save_for_backward(rows)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
    return _gather_backward(grad, *ctx.saved_tensors, ctx.num_rows), None


def _setup_backward(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(inputs[1])


def _double_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
    return _gather(grad, *ctx.saved_tensors), None, None


_gather = differentiable("rlmrec_fast::gather", _backward, _setup)
_gather_backward = differentiable("rlmrec_fast::gather_backward", _double_backward, _setup_backward)
