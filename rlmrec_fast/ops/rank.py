"""Full ranking: the top items of each user, and the metrics of such a ranking."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from rlmrec_fast.ops._checks import (
    FLOAT_TYPES,
    STORAGE_TYPES,
    check_ids,
    check_integer,
    check_rows,
    check_same,
    check_table,
)
from rlmrec_fast.ops.reduce import stable_sum


class RankingMetrics(NamedTuple):
    """Means over the users with held-out items: float64 [len(cutoffs)] each."""

    recall: Tensor
    ndcg: Tensor


def rank(
    user_embedding: Tensor,
    item_embedding: Tensor,
    k: int,
    exclude: tuple[Tensor, Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """The k items of highest dot product for each user, best first.

    The users x items matrix is never stored: scores are made tile by tile in registers, and only
    those above a user's k-th best so far are looked at.

    Args:
        user_embedding: [n, d], one row per user to rank for; float32 or float64 (16-bit tables are
            read as float32).
        item_embedding: [I, d], of the same type.
        k: how many items, >= 1; may exceed I.
        exclude: CSR rows (offsets int64 [n + 1], items int32) of items never returned, sorted in
            each row; usually the users' training items.

    Returns:
        (items int64 [n, k], scores [n, k]). Equal scores are ordered by lower item. Where fewer
        than k items remain, items are -1 and scores -inf. Items with NaN or -inf scores are never
        returned.

    Raises:
        TypeError: an argument is of a wrong type.
        ValueError: a shape or value is out of range.
    """
    check_table("rank", "user_embedding", user_embedding, STORAGE_TYPES)
    check_table("rank", "item_embedding", item_embedding, STORAGE_TYPES)
    check_integer("rank", "k", k)
    offsets = items = None
    if exclude is not None:
        offsets, items = check_rows("rank", "exclude", exclude)
        check_same("rank", ("user_embedding", user_embedding), ("exclude", items))
    check_same("rank", ("user_embedding", user_embedding), ("item_embedding", item_embedding))
    tables = [
        table if table.dtype in FLOAT_TYPES else table.float()
        for table in (user_embedding.detach(), item_embedding.detach())
    ]
    best: tuple[Tensor, Tensor] = torch.ops.rlmrec_fast.rank(*tables, offsets, items, k)
    return best


def ranking_metrics(
    items: Tensor, held_out: tuple[Tensor, Tensor], cutoffs: Sequence[int] = (5, 10, 20)
) -> RankingMetrics:
    """Recall@K and NDCG@K of ranked items.

    recall@K = hits in the first K / |held-out|; ndcg@K takes binary gains, 1 / log2(place + 2), and
    divides by the gains of min(K, |held-out|) hits. Both are means over the rows that have held-out
    items.

    Args:
        items: int64 [n, k] as `rank` returns them (-1 where there is none).
        held_out: CSR rows (offsets int64 [n + 1], items int32), sorted in each row.
        cutoffs: the Ks, each in [1, k].

    Returns:
        recall and ndcg, float64 [len(cutoffs)]; NaN if no row has held-out items.

    Raises:
        TypeError: an argument is of a wrong type.
        ValueError: a shape or value is out of range.
    """
    if not isinstance(items, Tensor) or items.dtype != torch.int64 or items.dim() != 2:
        raise TypeError("ranking_metrics: items must be an int64 tensor of two dimensions")
    if len(cutoffs) == 0:
        raise ValueError("ranking_metrics: cutoffs must not be empty (got none)")
    offsets, held_items = check_rows("ranking_metrics", "held_out", held_out)
    ks = check_ids("ranking_metrics", "cutoffs", torch.tensor(list(cutoffs)))
    per_row = torch.ops.rlmrec_fast.ranking_metrics(items, offsets, held_items, ks)
    counted = (offsets[1:] > offsets[:-1]).sum()
    columns = per_row.flatten(1).T.contiguous()
    means = torch.stack([stable_sum(column) for column in columns]) / counted
    return RankingMetrics(*means.view(2, -1))


@torch.library.register_fake("rlmrec_fast::rank")
def _fake(
    user_embedding: Tensor,
    item_embedding: Tensor,
    exclude_offsets: Tensor | None,
    exclude_items: Tensor | None,
    k: int,
) -> tuple[Tensor, Tensor]:
    shape = (user_embedding.shape[0], k)
    return user_embedding.new_empty(shape, dtype=torch.int64), user_embedding.new_empty(shape)


@torch.library.register_fake("rlmrec_fast::ranking_metrics")
def _fake_metrics(
    items: Tensor, held_offsets: Tensor, held_items: Tensor, cutoffs: Tensor
) -> Tensor:
    return items.new_empty((items.shape[0], 2, cutoffs.shape[0]), dtype=torch.float64)
