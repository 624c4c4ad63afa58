"""Propagation that weights neighbours by similarity (DCCF's adaptive graphs, Ren et al., 2023)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rlmrec_fast.graph import InteractionGraph
from rlmrec_fast.ops._autograd import differentiable
from rlmrec_fast.ops._checks import (
    check_same,
    check_symmetric_graph,
    float_tables,
    refuse_second_derivative,
)
from rlmrec_fast.symmetric import SymmetricGraph

_OP = "adaptive_propagate"


def adaptive_propagate(
    message: Tensor, x: Tensor, graph: InteractionGraph | SymmetricGraph
) -> Tensor:
    """Every node's mean of its neighbours' rows, weighted by how alike their messages are.

    For each entry (r, c) of the graph: w_rc = (cos(message_r, message_c) + 1) / 2, the cosine as
    `torch.nn.functional.normalize` has it (x / max(|x|, 1e-12));
    y_r = sum_c w_rc x_c / sum_c w_rc. This is DCCF's adaptive message (Ren et al., SIGIR 2023,
    arXiv 2305.02759). Nothing is stored by edge, and gradients are gathered as in
    `edge_attention`.

    Args:
        message: [N, d], float32 or float64 (16-bit tables are read as float32).
        x: [N, d], of the same type.
        graph: a graph of N nodes, on x's device.

    Returns:
        [N, d], float32 or float64. Rows without entries, and those whose weights add up to 0, are
        zeros and pass no gradient. Equal for any number of threads, bit by bit.

    Raises:
        TypeError: an argument is of a wrong type.
        ValueError: a shape is wrong.
    """
    check_symmetric_graph(_OP, graph)
    message, x = float_tables(_OP, {"message": message, "x": x}, graph.num_nodes)
    check_same(_OP, ("message", message), ("graph", graph.offsets))
    y: Tensor = _adapt(message, x, graph.offsets, graph.columns, graph.partition)[0]
    return y


@torch.library.register_fake("rlmrec_fast::adaptive_propagate")
def _fake(
    message: Tensor, x: Tensor, offsets: Tensor, columns: Tensor, partition: Tensor
) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape), x.new_empty(x.shape[0], 1)


@torch.library.register_fake("rlmrec_fast::adaptive_propagate_backward")
def _fake_backward(
    grad: Tensor,
    y: Tensor,
    inverse: Tensor,
    message: Tensor,
    x: Tensor,
    offsets: Tensor,
    columns: Tensor,
    partition: Tensor,
    *wanted: bool,
) -> tuple[Tensor, ...]:
    rows, width = grad.shape
    return tuple(grad.new_empty(rows if want else 0, width) for want in wanted)


def _setup(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(*output, *inputs)
    ctx.mark_non_differentiable(output[1])
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, grad: Tensor | None, _: None) -> tuple[Tensor | None, ...]:
    wanted = ctx.needs_input_grad[:2]
    if grad is None or not any(wanted):
        return (None,) * 5
    grads = _adapt_backward(grad, *ctx.saved_tensors, *wanted)
    return (*(g if want else None for g, want in zip(grads, wanted, strict=True)), *[None] * 3)


_adapt = differentiable("rlmrec_fast::adaptive_propagate", _backward, _setup)
_adapt_backward = differentiable(
    "rlmrec_fast::adaptive_propagate_backward", refuse_second_derivative(_OP)
)
