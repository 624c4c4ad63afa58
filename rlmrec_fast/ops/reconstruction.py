"""The loss of RLMRec-Gen's masked nodes (Ren et al., WWW 2024)."""

from __future__ import annotations

import torch
from torch import Tensor

from rlmrec_fast.ops._contrast import (
    Normalize,
    Reduction,
    check_settings,
    check_tables,
    contrast,
)

# torch.nn.functional.normalize's own.
_NORM_EPS = 1e-12


def reconstruction_loss(
    x: Tensor,
    y: Tensor,
    temperature: float,
    reduction: Reduction = "mean",
    delta: float = 1e-8,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """-log(exp(x_i . y_i / t) / (sum_j exp(x_i . y_j / t) + delta) + delta), rows normalised.

    Extra memory is O(n d): the n x n matrix never exists.

    Args:
        x: [n, d], float32 or float64 (16-bit tables are read as float32).
        y: [n, d], of the same type; row i is what row i of x should look like.
        temperature: t, positive.
        reduction: ``"mean"`` or ``"sum"`` over the rows, or ``"none"``.
        delta: the two epsilons of the formula, not negative.
        dtype: type of the products' factors, as in `info_nce`.

    Returns:
        A scalar, or [n] for ``"none"``. The mean of no rows is NaN, as in PyTorch.

    Raises:
        TypeError: an argument is of a wrong type.
        ValueError: a shape or setting is out of range.
    """
    op = "reconstruction_loss"
    x, y = check_tables(op, x=x, y=y)
    check_settings(op, temperature, reduction)
    if y.shape != x.shape:
        raise ValueError(f"{op}: y must have shape {tuple(x.shape)} like x (got {tuple(y.shape)})")
    if not 0 <= delta < float("inf"):
        raise ValueError(f"{op}: delta must be finite and not negative (got {delta})")
    if x.shape[0] == 0:
        empty = (x * y).sum(1)
        return {"none": empty, "sum": empty.sum(), "mean": empty.mean()}[reduction]
    return contrast(
        op,
        x,
        y,
        y,
        temperature=temperature,
        eps=_NORM_EPS,
        delta=delta,
        normalize=Normalize.CLAMP,
        query_weight=None,
        candidate_weight=None,
        reduction=reduction,
        dtype=dtype,
    )
