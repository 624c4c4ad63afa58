"""Attention along the edges of a graph (AutoCF's transformer, Xia et al., WWW 2023)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from rlmrec_fast.graph import InteractionGraph
from rlmrec_fast.ops._autograd import differentiable
from rlmrec_fast.ops._checks import (
    check_integer,
    check_same,
    check_symmetric_graph,
    float_tables,
    refuse_second_derivative,
)
from rlmrec_fast.symmetric import SymmetricGraph

_OP = "edge_attention"


def edge_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    graph: InteractionGraph | SymmetricGraph,
    num_heads: int,
    *,
    clamp: float = 10.0,
    eps: float = 1e-8,
) -> Tensor:
    """Every node's mean of its neighbours' values, weighted by how its query meets their keys.

    For each head and entry (r, c) of the graph: a_rc = exp(clamp(q_r . k_c, -clamp, clamp));
    y_r = sum_c a_rc v_c / (sum_c a_rc + eps). Projections that a model applies by edge are the
    same when they are applied by node first. The derivative of the clamp is that of `torch.clamp`.
    Nothing is stored by edge: the backward pass computes the weights again, and, as the graph is
    symmetric, gathers the gradients of keys and values as the forward pass gathers values.

    Args:
        query: [N, d], float32 or float64 (16-bit tables are read as float32).
        key: [N, d], of the same type.
        value: [N, d], of the same type.
        graph: a graph of N nodes, on query's device.
        num_heads: H, which divides d; head h owns the columns from h * d / H on. 1 and 4 are the
            fastest.
        clamp: bound of the logits, in (0, 80].
        eps: added to the sum of weights; finite and not negative.

    Returns:
        [N, d], float32 or float64. Rows without entries are zeros. Equal for any number of
        threads, bit by bit.

    Raises:
        TypeError: an argument is of a wrong type.
        ValueError: a shape or value is out of range.
    """
    check_symmetric_graph(_OP, graph)
    tables = {"query": query, "key": key, "value": value}
    query, key, value = float_tables(_OP, tables, graph.num_nodes)
    check_integer(_OP, "num_heads", num_heads)
    if num_heads < 1 or query.shape[1] % num_heads:
        raise ValueError(
            f"{_OP}: num_heads must be positive and divide {query.shape[1]} (got {num_heads})"
        )
    if not 0 < clamp <= 80:
        raise ValueError(f"{_OP}: clamp must be in (0, 80] (got {clamp})")
    if not 0 <= eps < math.inf:
        raise ValueError(f"{_OP}: eps must be finite and not negative (got {eps})")
    check_same(_OP, ("query", query), ("graph", graph.offsets))
    rows = (graph.offsets, graph.columns, graph.partition)
    y: Tensor = _attend(query, key, value, *rows, num_heads, float(clamp), float(eps))[0]
    return y


@torch.library.register_fake("rlmrec_fast::edge_attention")
def _fake(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    offsets: Tensor,
    columns: Tensor,
    partition: Tensor,
    num_heads: int,
    clamp: float,
    eps: float,
) -> tuple[Tensor, Tensor]:
    return query.new_empty(query.shape), query.new_empty(query.shape[0], num_heads)


@torch.library.register_fake("rlmrec_fast::edge_attention_backward")
def _fake_backward(
    grad: Tensor,
    y: Tensor,
    inverse: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    offsets: Tensor,
    columns: Tensor,
    partition: Tensor,
    num_heads: int,
    clamp: float,
    *wanted: bool,
) -> tuple[Tensor, ...]:
    rows, width = grad.shape
    return tuple(grad.new_empty(rows if want else 0, width) for want in wanted)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    *tensors, num_heads, clamp, _ = inputs
    ctx.save_for_backward(*output, *tensors)
    ctx.settings = (num_heads, clamp)
    ctx.mark_non_differentiable(output[1])
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, grad: Tensor | None, _: None) -> tuple[Tensor | None, ...]:
    wanted = ctx.needs_input_grad[:3]
    if grad is None or not any(wanted):
        return (None,) * 9
    grads = _attend_backward(grad, *ctx.saved_tensors, *ctx.settings, *wanted)
    return (*(g if want else None for g, want in zip(grads, wanted, strict=True)), *[None] * 6)


_attend = differentiable("rlmrec_fast::edge_attention", _backward, _setup)
_attend_backward = differentiable(
    "rlmrec_fast::edge_attention_backward", refuse_second_derivative(_OP)
)
