"""Bayesian personalised ranking on propagated embeddings, as LightGCN and its kin learn from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from rlmrec_fast.graph import InteractionGraph
from rlmrec_fast.ops._autograd import once
from rlmrec_fast.ops._checks import FLOAT_TYPES, check_ids, check_same
from rlmrec_fast.ops.bpr import apply_bpr, apply_bpr_backward, bpr_loss
from rlmrec_fast.ops.distinct import distinct, must_not_wait
from rlmrec_fast.ops.propagate import (
    COMBINES,
    Combine,
    apply_propagate,
    apply_propagate_backward,
    check_propagation,
    graph_arrays,
    propagate,
)
from rlmrec_fast.ops.random import Seed
from rlmrec_fast.ops.reduce import stable_sum

_OP = "propagated_bpr_loss"


def propagated_bpr_loss(
    x: Tensor,
    graph: InteractionGraph,
    num_layers: int,
    users: Tensor,
    positives: Tensor,
    negatives: Tensor,
    *,
    combine: Combine = "sum",
    keep_rate: float = 1.0,
    seed: Seed = 0,
) -> Tensor:
    """The mean of `bpr_loss` on the rows of `propagate`'s result: the loss of LightGCN, GCCF.

    The same bits as ``bpr_loss(propagate(x, graph, num_layers, ...), None, users, positives,
    negatives)`` with less work on a CPU: only the rows of the batch's nodes are computed, and
    autograd sees one operator instead of a chain. On a GPU, and compiled, it is that chain.

    Args:
        x: embeddings [N, d], users first, as `propagate` takes them.
        graph: the graph, with N nodes, on x's device.
        num_layers: L >= 0.
        users: int64 [B] in [0, N), nodes.
        positives: int64 [B] in [0, N), nodes: an item's number and ``graph.num_users``.
        negatives: int64 [B] in [0, N), nodes.
        combine: as in `propagate`.
        keep_rate: as in `propagate`.
        seed: as in `propagate`.

    Returns:
        A scalar; of an empty batch NaN. Differentiable once, in x.

    Raises:
        TypeError: an argument is of a wrong type.
        ValueError: a shape or value is out of range.
    """
    check_propagation(_OP, x, graph, num_layers, combine, keep_rate)
    named = {"users": users, "positives": positives, "negatives": negatives}
    ids = {name: check_ids(_OP, name, value) for name, value in named.items()}
    check_same(_OP, ("x", x), *ids.items())
    size = users.shape[0]
    for name, value in ids.items():
        if value.shape[0] != size:
            got = value.shape[0]
            raise ValueError(f"{_OP}: {name} must have {size} elements like users (got {got})")
    if must_not_wait(x):
        table = propagate(x, graph, num_layers, combine=combine, keep_rate=keep_rate, seed=seed)
        return bpr_loss(table, None, ids["users"], ids["positives"], ids["negatives"])
    try:
        rows, places, _ = distinct(torch.cat(tuple(ids.values())), graph.num_nodes)
    except ValueError:
        _refuse_wrong_nodes(ids, graph.num_nodes)
        raise
    arrays = graph_arrays(_OP, x, graph, seed)
    settings = (num_layers, COMBINES.index(combine), float(keep_rate))
    loss: Tensor = _PropagatedBpr.apply(x, *arrays, rows, places, settings)
    return loss


def _refuse_wrong_nodes(ids: Mapping[str, Tensor], num_nodes: int) -> None:
    for name, value in ids.items():
        wrong = ((value < 0) | (value >= num_nodes)).nonzero()
        if len(wrong):
            place = int(wrong[0])
            got = f"got {int(value[place])} at position {place}"
            raise ValueError(f"{_OP}: {name} must be in [0, {num_nodes}) ({got})") from None


class _PropagatedBpr(Function):
    # The gradients of the batch's rows are found together with the loss, so that nothing but them
    # has to be kept.
    @staticmethod
    def forward(ctx: Any, x: Tensor, *others: Any) -> Tensor:
        *arrays, rows, places, settings = others
        table = apply_propagate(x, *arrays, rows, *settings, 0.0, False)
        read = table if table.dtype in FLOAT_TYPES else table.float()
        ids = places.view(3, -1).unbind()
        losses, slopes = apply_bpr(read, None, *ids)
        size = losses.shape[0]
        if ctx.needs_input_grad[0]:
            weights = losses.new_full((), 1 / max(size, 1)).expand(size)
            grad_table, _ = apply_bpr_backward(weights, slopes, read, None, *ids)
            ctx.save_for_backward(x, *arrays, rows, grad_table.to(x.dtype))
            ctx.settings = settings
        loss: Tensor = stable_sum(losses) / size
        return loss

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        x, *arrays, rows, grad_table = ctx.saved_tensors
        grad_x = apply_propagate_backward(grad_table, *arrays, rows, *ctx.settings, False)
        return once(_OP, (grad_x.mul_(grad), *[None] * 8), x)
