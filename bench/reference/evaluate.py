"""Full ranking over dense scores, batch by batch, with metrics in Python."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset


class RankingUsers(Dataset[tuple[int, Any]]):
    """The users with held-out items, each with a dense 0/1 row of its training items.

    Args:
        train: scipy sparse U x I.
        held_out: scipy sparse U x I.
    """

    def __init__(self, train: Any, held_out: Any) -> None:
        # A matrix, not an array: a row of it is two-dimensional, as in the public code.
        self.train = sp.csr_matrix(train != 0, dtype=np.float32)
        rows = sp.csr_matrix(held_out)
        self.users = np.flatnonzero(np.diff(rows.indptr))
        self.held_out = [
            rows.indices[rows.indptr[user] : rows.indptr[user + 1]].tolist()
            for user in range(rows.shape[0])
        ]

    def __len__(self) -> int:
        return len(self.users)

    def __getitem__(self, index: int) -> tuple[int, Any]:
        user = int(self.users[index])
        return user, self.train[user].toarray().reshape(-1)


@torch.no_grad()
def evaluate(
    user_embedding: Tensor,
    item_embedding: Tensor,
    data: RankingUsers,
    cutoffs: Sequence[int] = (5, 10, 20),
    batch_size: int = 1024,
) -> dict[str, float]:
    """Recall@K and NDCG@K, means over the users with held-out items.

    Mirrors the public evaluation: scores of a batch of users with all items, training items pushed
    down by 1e8 through a dense mask of long integers, topk, then for every user a list of hits by
    membership in the list of held-out items, and numpy over the hits.
    """
    largest = max(cutoffs)
    sums = {f"{name}@{k}": 0.0 for name in ("recall", "ndcg") for k in cutoffs}
    for users, mask in DataLoader(data, batch_size=batch_size, shuffle=False, num_workers=0):
        excluded = mask.long().to(user_embedding.device)
        scores = user_embedding[users.to(user_embedding.device)] @ item_embedding.T
        scores = scores * (1 - excluded) - 1e8 * excluded
        _, ranked = torch.topk(scores, k=largest)
        truths = [data.held_out[user] for user in users.tolist()]
        hits = np.array(
            [
                [item in truth for item in top]
                for top, truth in zip(ranked.tolist(), truths, strict=True)
            ]
        ).astype(np.float64)
        for k in cutoffs:
            sums[f"recall@{k}"] += _recall(hits, truths, k)
            sums[f"ndcg@{k}"] += _ndcg(hits, truths, k)
    return {name: total / len(data) for name, total in sums.items()}


def _recall(hits: Any, truths: list[list[int]], k: int) -> float:
    sizes = np.array([len(truth) for truth in truths])
    return float((hits[:, :k].sum(axis=1) / sizes).sum())


def _ndcg(hits: Any, truths: list[list[int]], k: int) -> float:
    gains = 1.0 / np.log2(np.arange(2, k + 2))
    ideal = np.zeros((len(truths), k))
    for row, truth in zip(ideal, truths, strict=True):
        row[: min(k, len(truth))] = 1.0
    best = (ideal * gains).sum(axis=1)
    found = (hits[:, :k] * gains).sum(axis=1) / best
    found[~np.isfinite(found)] = 0.0
    return math.fsum(found)
