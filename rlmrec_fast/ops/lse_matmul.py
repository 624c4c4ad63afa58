"""Log-sum-exp of dot products, as AutoCF (Xia et al., WWW 2023) pushes embeddings apart with."""

from __future__ import annotations

from torch import Tensor

from rlmrec_fast.ops._contrast import (
    Normalize,
    Reduction,
    check_not_empty,
    check_settings,
    check_tables,
    check_weight,
    contrast,
)


def lse_matmul(
    query: Tensor,
    candidates: Tensor,
    weights: Tensor | None = None,
    reduction: Reduction = "mean",
    *,
    query_weight: Tensor | None = None,
) -> Tensor:
    """The log of sum_c w_c exp(q . c) for each query: raw dot products, of whatever size.

    Args:
        query: [B, d], float32 or float64 (16-bit tables are read as float32).
        candidates: [C, d], C >= 1, of the same type.
        weights: [C], w, not negative; constant. None: 1.
        reduction: ``"mean"`` or ``"sum"`` over the queries, or ``"none"``.
        query_weight: [B], factors of the queries' results, such as how often a query that is given
            once occurs in a batch; constant. ``"mean"`` divides by B all the same.

    Returns:
        A scalar, or [B] for ``"none"``. Equal for any number of threads, bit by bit.

    Raises:
        TypeError: an argument is of a wrong type.
        ValueError: a shape or weight is out of range.
    """
    query, candidates = check_tables("lse_matmul", query=query, candidates=candidates)
    check_settings("lse_matmul", 1.0, reduction)
    check_not_empty("lse_matmul", "candidates", candidates)
    return contrast(
        "lse_matmul",
        query,
        candidates,
        None,
        temperature=1.0,
        eps=0.0,
        delta=0.0,
        normalize=Normalize.NONE,
        query_weight=check_weight("lse_matmul", "query_weight", query_weight, query),
        candidate_weight=check_weight("lse_matmul", "weights", weights, candidates),
        reduction=reduction,
        dtype=None,
    )
