"""InfoNCE over cosines (van den Oord et al., 2018), as RLMRec (Ren et al., WWW 2024) takes it."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from rlmrec_fast.ops._checks import check_ids, check_same
from rlmrec_fast.ops._contrast import (
    Normalize,
    Reduction,
    check_not_empty,
    check_settings,
    check_tables,
    check_weight,
    contrast,
)
from rlmrec_fast.ops.distinct import distinct_rows, must_not_wait
from rlmrec_fast.ops.gather import gather_rows

Candidates = Literal["all", "batch"]


def info_nce(
    query: Tensor,
    positive: Tensor,
    candidates: Tensor,
    temperature: float,
    *,
    query_weight: Tensor | None = None,
    candidate_weight: Tensor | None = None,
    reduction: Reduction = "sum",
    eps: float = 1e-8,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """-cos(q, k+) / temperature + log sum_c w_c exp(cos(q, c) / temperature) for each query.

    cos takes x / sqrt(eps + x . x). The positive is not excluded from the candidates, nor added to
    them. The B x C matrix never exists: extra memory is O((B + C) d). A sum or mean costs three
    matrix products, gradients included; losses by themselves one, and three more for gradients.

    Args:
        query: [B, d], float32 or float64 (16-bit tables are read as float32).
        positive: [B, d], the positive of each query.
        candidates: [C, d], C >= 1.
        temperature: positive; from 0.01 to 10 and beyond.
        query_weight: [B], factor of each query's loss; constant. None: 1.
        candidate_weight: [C], w, not negative, such as how often a candidate occurs; constant.
            None: 1.
        reduction: ``"sum"`` of the weighted losses, ``"mean"``: the sum over B, or ``"none"``.
        eps: not negative.
        dtype: ``torch.bfloat16`` takes the factors of all products in bfloat16 (sums stay float32)
            where temperature >= 0.03 and the processor has AVX-512-BF16 or the tables are on a GPU:
            twice as fast, gradients good to two or three digits. None: the tables' type; on a GPU
            float32 factors are rounded to TF32 if torch.backends.cuda.matmul allows that.

    Returns:
        A scalar, or [B] for ``"none"``. Equal for any number of threads, bit by bit.

    Raises:
        TypeError: an argument is of a wrong type.
        ValueError: a shape, weight or setting is out of range. On a GPU, which nobody waits for,
            losses that a weight out of range is part of are NaN instead.
    """
    query, positive, candidates = check_tables(
        "info_nce", query=query, positive=positive, candidates=candidates
    )
    check_settings("info_nce", temperature, reduction, eps)
    check_not_empty("info_nce", "candidates", candidates)
    if positive.shape != query.shape:
        raise ValueError(
            f"info_nce: positive must have shape {tuple(query.shape)} like query "
            f"(got {tuple(positive.shape)})"
        )
    return contrast(
        "info_nce",
        query,
        candidates,
        positive,
        temperature=temperature,
        eps=eps,
        delta=0.0,
        normalize=Normalize.ROOT,
        query_weight=check_weight("info_nce", "query_weight", query_weight, query),
        candidate_weight=check_weight("info_nce", "candidate_weight", candidate_weight, candidates),
        reduction=reduction,
        dtype=dtype,
    )


def info_nce_by_id(
    query_table: Tensor,
    candidate_table: Tensor,
    ids: Tensor,
    temperature: float,
    candidates: Candidates = "all",
    *,
    reduction: Reduction = "sum",
    eps: float = 1e-8,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """`info_nce` of rows ``ids`` of one table with the same rows of another as positives.

    Ids that are repeated are computed once and counted as often as they occur, which is the same
    sum: a batch of recommendation triplets holds a third fewer users than rows, and fewer items.

    Args:
        query_table: [N, d], float32 or float64 (16-bit tables are read as float32).
        candidate_table: [N, d], of the same type.
        ids: int64 [B] in [0, N).
        temperature: positive.
        candidates: ``"all"`` rows of candidate_table, or those of the ``"batch"``, a repeated one
            as often as it occurs.
        reduction: ``"sum"``, ``"mean"`` or ``"none"`` of the B losses.
        eps: as in `info_nce`.
        dtype: as in `info_nce`.

    Returns:
        A scalar, or [B] for ``"none"``.

    Raises:
        TypeError: an argument is of a wrong type.
        ValueError: a shape or setting is wrong or an id is out of range.
    """
    op = "info_nce_by_id"
    query_table, candidate_table = check_tables(
        op, query_table=query_table, candidate_table=candidate_table
    )
    check_settings(op, temperature, reduction, eps)
    if candidate_table.shape != query_table.shape:
        raise ValueError(
            f"{op}: candidate_table must have shape {tuple(query_table.shape)} like query_table "
            f"(got {tuple(candidate_table.shape)})"
        )
    if candidates not in ("all", "batch"):
        raise ValueError(f"{op}: candidates must be 'all' or 'batch' (got {candidates!r})")
    ids = check_ids(op, "ids", ids)
    check_same(op, ("query_table", query_table), ("ids", ids))
    rows, places, counts = distinct_rows(op, ids, query_table.shape[0], must_not_wait(ids))
    positive = gather_rows(op, candidate_table, rows)
    losses = info_nce(
        gather_rows(op, query_table, rows),
        positive,
        candidate_table if candidates == "all" or not len(rows) else positive,
        temperature,
        query_weight=None if reduction == "none" else counts,
        candidate_weight=counts if candidates == "batch" and len(rows) else None,
        reduction="none" if reduction == "none" else "sum",
        eps=eps,
        dtype=dtype,
    )
    if reduction == "none":
        return gather_rows(op, losses[:, None], places)[:, 0]
    return losses / len(ids) if reduction == "mean" else losses


def symmetric_info_nce(
    x: Tensor,
    y: Tensor,
    temperature: float,
    *,
    reduction: Reduction = "mean",
    eps: float = 1e-8,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """In-batch InfoNCE in both directions, as CLIP (Radford et al., ICML 2021) averages them.

    Args:
        x: [B, d], B >= 1.
        y: [B, d]; row i is the positive of x's row i, and the other way round.
        temperature: positive.
        reduction: ``"mean"`` or ``"sum"`` over the batch, or ``"none"``.
        eps: as in `info_nce`.
        dtype: as in `info_nce`.

    Returns:
        Half the loss of x against y plus half that of y against x: a scalar, or [B].
    """
    forth = info_nce(x, y, y, temperature, reduction=reduction, eps=eps, dtype=dtype)
    back = info_nce(y, x, x, temperature, reduction=reduction, eps=eps, dtype=dtype)
    return (forth + back) / 2
