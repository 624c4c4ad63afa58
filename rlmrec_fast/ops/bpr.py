"""Bayesian personalised ranking (Rendle et al., UAI 2009)."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from rlmrec_fast.ops._autograd import differentiable
from rlmrec_fast.ops._checks import (
    FLOAT_TYPES,
    STORAGE_TYPES,
    check_ids,
    check_same,
    check_table,
    refuse_second_derivative,
)
from rlmrec_fast.ops.reduce import stable_sum

Reduction = Literal["mean", "sum", "none"]
REDUCTIONS: tuple[Reduction, ...] = ("mean", "sum", "none")


def bpr_loss(
    user_embedding: Tensor,
    item_embedding: Tensor | None,
    users: Tensor,
    positives: Tensor,
    negatives: Tensor,
    reduction: Reduction = "mean",
) -> Tensor:
    """softplus(e_u . e_neg - e_u . e_pos) for each (user, positive, negative) of a batch.

    Gathering, dot products and softplus are one pass; the gradients of rows that occur several
    times are summed in batch order, so the result is equal for any number of threads, bit by bit.

    Args:
        user_embedding: [U, d], float32 or float64 (16-bit tables are read as float32).
        item_embedding: [I, d], of the same type. None where users and items are rows of one table,
            ``user_embedding``: then all ids are rows of that, and its gradient is one tensor.
        users: int64 [B] in [0, U).
        positives: int64 [B] in [0, I), items the users interacted with.
        negatives: int64 [B] in [0, I), items they did not.
        reduction: ``"mean"`` or ``"sum"`` over the batch, or ``"none"`` for the losses [B].

    Returns:
        A scalar, or [B] for ``"none"``. The mean of an empty batch is NaN, as in PyTorch.

    Raises:
        TypeError: an argument is of a wrong type.
        ValueError: a shape is wrong or an id is out of range.
    """
    check_table("bpr_loss", "user_embedding", user_embedding, STORAGE_TYPES)
    if item_embedding is not None:
        check_table("bpr_loss", "item_embedding", item_embedding, STORAGE_TYPES)
        check_same(
            "bpr_loss", ("user_embedding", user_embedding), ("item_embedding", item_embedding)
        )
    if reduction not in REDUCTIONS:
        raise ValueError(f"bpr_loss: reduction must be one of {REDUCTIONS} (got {reduction!r})")
    ids = [
        check_ids("bpr_loss", name, value)
        for name, value in (("users", users), ("positives", positives), ("negatives", negatives))
    ]
    tensors = zip(("users", "positives", "negatives"), ids, strict=True)
    check_same("bpr_loss", ("user_embedding", user_embedding), *tensors)
    tables = [
        table.float() if table is not None and table.dtype not in FLOAT_TYPES else table
        for table in (user_embedding, item_embedding)
    ]
    losses: Tensor = apply_bpr(*tables, *ids)[0]
    if reduction == "none":
        return losses
    total = stable_sum(losses)
    return total / losses.shape[0] if reduction == "mean" else total


@torch.library.register_fake("rlmrec_fast::bpr")
def _fake(
    embedding: Tensor,
    item_embedding: Tensor | None,
    users: Tensor,
    positives: Tensor,
    negatives: Tensor,
) -> tuple[Tensor, Tensor]:
    return embedding.new_empty(users.shape[0]), embedding.new_empty(users.shape[0])


@torch.library.register_fake("rlmrec_fast::bpr_backward")
def _fake_backward(
    grad_losses: Tensor,
    slopes: Tensor,
    embedding: Tensor,
    item_embedding: Tensor | None,
    users: Tensor,
    positives: Tensor,
    negatives: Tensor,
) -> tuple[Tensor, Tensor]:
    item_rows = 0 if item_embedding is None else item_embedding.shape[0]
    return embedding.new_empty(embedding.shape), embedding.new_empty(item_rows, embedding.shape[1])


def _setup(ctx: Any, inputs: tuple[Tensor | None, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(output[1], *inputs)
    ctx.mark_non_differentiable(output[1])
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, grad_losses: Tensor | None, _: None) -> tuple[Tensor | None, ...]:
    if grad_losses is None:
        return (None,) * 5
    slopes, embedding, item_embedding, *ids = ctx.saved_tensors
    grad, item_grad = apply_bpr_backward(grad_losses, slopes, embedding, item_embedding, *ids)
    return (grad, None if item_embedding is None else item_grad, None, None, None)


apply_bpr = differentiable("rlmrec_fast::bpr", _backward, _setup)
apply_bpr_backward = differentiable(
    "rlmrec_fast::bpr_backward", refuse_second_derivative("bpr_loss")
)
