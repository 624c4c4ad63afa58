"""Product of a weighted CSR matrix and a table, differentiable in both."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rlmrec_fast.graph import WeightedGraph
from rlmrec_fast.ops._autograd import differentiable
from rlmrec_fast.ops._checks import (
    STORAGE_TYPES,
    accumulation_type,
    check_same,
    check_table,
    refuse_second_derivative,
)


def spmm(x: Tensor, graph: WeightedGraph, values: Tensor | None = None) -> Tensor:
    """y[r] = sum over the entries e of row r of values[e] * x[columns[e]].

    Args:
        x: table [num_columns, d]; float32, float64, bfloat16 or float16.
        graph: the matrix [num_rows, num_columns] with its transpose, on x's device.
        values: weights [nnz] in the order of ``graph.columns``, e.g. learned ones; None takes
            ``graph.values``. float64 for float64 tables, else float32.

    Returns:
        [num_rows, d] of x's type, accumulated in values' type. Empty rows give zeros. Equal for
        any number of threads, bit by bit.

    Raises:
        TypeError: an argument is of a wrong type.
        ValueError: a shape is wrong.
    """
    if not isinstance(graph, WeightedGraph):
        raise TypeError(f"spmm: graph must be a WeightedGraph (got {type(graph).__name__})")
    check_table("spmm", "x", x, STORAGE_TYPES, graph.num_columns)
    wanted = accumulation_type(x.dtype)
    if values is None:
        values = graph.values.to(wanted)
    elif not isinstance(values, Tensor):
        raise TypeError(f"spmm: values must be a tensor (got {type(values).__name__})")
    elif values.dtype != wanted:
        raise TypeError(f"spmm: values must be of type {wanted} for {x.dtype} (got {values.dtype})")
    if values.shape != graph.columns.shape:
        raise ValueError(
            f"spmm: values must have {graph.columns.shape[0]} elements (got {tuple(values.shape)})"
        )
    check_same("spmm", ("x", x), ("graph", graph.offsets), ("values", values))
    table: Tensor = _spmm(
        x,
        values,
        graph.offsets,
        graph.columns,
        graph.partition,
        graph.transposed_offsets,
        graph.transposed_columns,
        graph.transposed_positions,
        graph.transposed_partition,
    )
    return table


@torch.library.register_fake("rlmrec_fast::spmm")
def _fake(x: Tensor, values: Tensor, offsets: Tensor, *others: Tensor) -> Tensor:
    return x.new_empty(offsets.shape[0] - 1, x.shape[1])


@torch.library.register_fake("rlmrec_fast::spmm_backward_values")
def _fake_values(
    grad: Tensor, x: Tensor, offsets: Tensor, columns: Tensor, partition: Tensor
) -> Tensor:
    return x.new_empty(columns.shape[0], dtype=accumulation_type(x.dtype))


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, values, *matrix = inputs
    needs_x, needs_values = ctx.needs_input_grad[:2]
    ctx.save_for_backward(x if needs_values else None, values if needs_x else None, *matrix)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, values, *matrix = ctx.saved_tensors
    offsets, columns, partition, t_offsets, t_columns, t_positions, t_partition = matrix
    grad_x = grad_values = None
    if values is not None:
        # The transpose of the transpose is the matrix itself; its positions are the inverse.
        inverse = torch.empty_like(t_positions)
        inverse[t_positions] = torch.arange(len(t_positions), device=inverse.device)
        grad_x = _spmm(
            grad,
            values[t_positions],
            t_offsets,
            t_columns,
            t_partition,
            offsets,
            columns,
            inverse,
            partition,
        )
    if x is not None:
        grad_values = _spmm_backward_values(grad, x, offsets, columns, partition)
    return (grad_x, grad_values, *[None] * 7)


_spmm = differentiable("rlmrec_fast::spmm", _backward, _setup)
_spmm_backward_values = differentiable(
    "rlmrec_fast::spmm_backward_values", refuse_second_derivative("spmm")
)
