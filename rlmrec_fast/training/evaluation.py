"""Full ranking: Recall and NDCG of held-out items among all items not seen in training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from rlmrec_fast import ops

CUTOFFS = (5, 10, 20)
Rows = tuple[Tensor, Tensor]


def sorted_rows(matrix: Any, device: torch.device | str = "cpu") -> Rows:
    """The non-zero columns of every row of a scipy sparse matrix.

    Returns:
        `(offsets int64 [rows + 1], columns int32 [nnz])`, columns sorted inside each row.
    """
    rows = sparse.csr_array(matrix, copy=True)
    rows.sum_duplicates()
    rows.eliminate_zeros()
    offsets = torch.from_numpy(rows.indptr.astype(np.int64))
    return offsets.to(device), torch.from_numpy(rows.indices.astype(np.int32)).to(device)


class Evaluator:
    """Ranks all items for every user with held-out items, the training items removed.

    Only the training items are removed: with `held_out` the test matrix, validation items stay in
    the ranking. What depends on the matrices alone is computed once, here.

    Args:
        train: scipy sparse `U x I`, the items to remove.
        held_out: scipy sparse `U x I`, the items to find.
        cutoffs: the K of Recall@K and NDCG@K, each at least 1.
        device: where the embeddings will be.

    Raises:
        ValueError: the shapes differ, or nothing is held out, or a cutoff is below 1.
    """

    def __init__(
        self,
        train: Any,
        held_out: Any,
        cutoffs: Sequence[int] = CUTOFFS,
        device: torch.device | str = "cpu",
    ) -> None:
        if train.shape != held_out.shape:
            raise ValueError(
                f"Evaluator: held_out must have the shape of train {train.shape} "
                f"(got {held_out.shape})"
            )
        if not cutoffs or min(cutoffs) < 1:
            raise ValueError(f"Evaluator: cutoffs must be at least 1 (got {tuple(cutoffs)})")
        train, held_out = sparse.csr_array(train), sparse.csr_array(held_out, copy=True)
        held_out.eliminate_zeros()
        users = np.flatnonzero(np.diff(held_out.indptr))
        if not len(users):
            raise ValueError("Evaluator: held_out must have at least one interaction (got none)")
        self.cutoffs = tuple(cutoffs)
        self.users = torch.from_numpy(users).to(device)
        self.exclude = sorted_rows(train[users], device)
        self.held_out = sorted_rows(held_out[users], device)

    @torch.no_grad()
    def __call__(self, user_embedding: Tensor, item_embedding: Tensor) -> dict[str, float]:
        """Means over the users with held-out items.

        Args:
            user_embedding: `[U, d]`.
            item_embedding: `[I, d]`.

        Returns:
            `recall@K` and `ndcg@K` for every cutoff.
        """
        queries = user_embedding.index_select(0, self.users)
        items, _ = ops.rank(queries, item_embedding, max(self.cutoffs), self.exclude)
        recall, ndcg = ops.ranking_metrics(items, self.held_out, self.cutoffs)
        metrics = {}
        for name, values in (("recall", recall), ("ndcg", ndcg)):
            for cutoff, value in zip(self.cutoffs, values.tolist(), strict=True):
                metrics[f"{name}@{cutoff}"] = float(value)
        return metrics


def evaluate(
    user_embedding: Tensor,
    item_embedding: Tensor,
    train: Any,
    held_out: Any,
    cutoffs: Sequence[int] = CUTOFFS,
) -> dict[str, float]:
    """Recall@K and NDCG@K of one split; see `Evaluator`, which repeated calls should keep.

    Returns:
        `recall@K` and `ndcg@K` for every cutoff.
    """
    evaluator = Evaluator(train, held_out, cutoffs, user_embedding.device)
    return evaluator(user_embedding, item_embedding)
