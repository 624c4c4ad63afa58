"""Modules over :mod:`rlmrec_fast.ops` for models that are written elsewhere."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rlmrec_fast.graph import InteractionGraph
from rlmrec_fast.ops import bpr_loss, propagate
from rlmrec_fast.ops.bpr import Reduction
from rlmrec_fast.ops.propagate import Combine


class Propagation(nn.Module):
    """LightGCN's propagation in place of ``torch.sparse.mm`` loops (`rlmrec_fast.ops.propagate`).

    In training mode edges are dropped anew in every call, from torch's own generator on the CPU, so
    that ``torch.manual_seed`` makes runs repeatable; in evaluation mode nothing is dropped.

    Args:
        graph: the user-item graph; moves with the module where it is moved explicitly (`graph.to`).
        num_layers: number of layers L.
        combine: ``"sum"``, ``"mean"``, ``"concat"`` or ``"last"``.
        keep_rate: probability of keeping a directed edge in training.
    """

    def __init__(
        self,
        graph: InteractionGraph,
        num_layers: int,
        *,
        combine: Combine = "sum",
        keep_rate: float = 1.0,
    ) -> None:
        super().__init__()
        self.graph = graph
        self.num_layers = num_layers
        self.combine: Combine = combine
        self.keep_rate = keep_rate

    def forward(self, user_embedding: Tensor, item_embedding: Tensor) -> tuple[Tensor, Tensor]:
        """Final embeddings [U, d'] and [I, d'] of users and items from their ego embeddings."""
        drops = self.training and self.keep_rate < 1
        table = propagate(
            torch.cat([user_embedding, item_embedding]),
            self.graph,
            self.num_layers,
            combine=self.combine,
            keep_rate=self.keep_rate if drops else 1.0,
            seed=torch.randint(2**63 - 1, (1,)) if drops else 0,
        )
        users, items = table.split([self.graph.num_users, self.graph.num_items])
        return users, items

    def extra_repr(self) -> str:
        """What ``print`` shows."""
        return (
            f"{self.graph}, num_layers={self.num_layers}, combine={self.combine!r}, "
            f"keep_rate={self.keep_rate}"
        )


class BPRLoss(nn.Module):
    """Bayesian personalised ranking on tables and ids (see `rlmrec_fast.ops.bpr_loss`)."""

    def __init__(self, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.reduction: Reduction = reduction

    def forward(
        self,
        user_embedding: Tensor,
        item_embedding: Tensor | None,
        users: Tensor,
        positives: Tensor,
        negatives: Tensor,
    ) -> Tensor:
        """The loss of a batch: tables [U, d] and [I, d] (or one table and None), ids int64 [B]."""
        return bpr_loss(user_embedding, item_embedding, users, positives, negatives, self.reduction)
