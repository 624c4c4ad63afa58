"""What SGL and SimGCL share: two changed views of a table, and the loss that compares them."""

from __future__ import annotations

from torch import Tensor

from rlmrec_fast import ops
from rlmrec_fast.backbones.base import Backbone, Batch, check_bounds
from rlmrec_fast.graph import InteractionGraph
from rlmrec_fast.ops.random import Seed

# What a seed derived from a step's is for; large, because operators count theirs from 0.
_VIEW = 0x56696577


class TwoViews(Backbone):
    """A backbone whose loss draws two randomly changed views of each node together.

    A subclass implements `forward`, the clean table that ranks, and `changed`. With u the users, p
    the positives and n the negatives of a batch of size B, and cos by x / sqrt(1e-8 + x.x),

        InfoNCE(q, k, C) = sum_i ( -cos(q_i, k_i) / tau + log sum_{c in C} exp(cos(q_i, c) / tau) )

        cl = cl_weight / B * ( InfoNCE(u1, u2, ALL users of view 2)
                             + InfoNCE(p1, p2, ALL items of view 2) [ + the same for n ] ).

    Args:
        graph: the training interactions.
        dim: embedding size d.
        reg_weight: weight of the squared L2 norm of all parameters.
        cl_weight: weight of the contrastive loss, at least 0.
        cl_temperature: tau, above 0.
        seed: seed of the initialisation.

    Raises:
        ValueError: a value is out of bounds.
    """

    def __init__(
        self,
        graph: InteractionGraph,
        dim: int,
        reg_weight: float,
        cl_weight: float,
        cl_temperature: float,
        seed: int,
    ) -> None:
        name = type(self).__name__
        check_bounds(name, cl_weight >= 0, "cl_weight must be >= 0", cl_weight)
        check_bounds(name, cl_temperature > 0, "cl_temperature must be > 0", cl_temperature)
        super().__init__(graph, dim, reg_weight, seed)
        self.cl_weight = cl_weight
        self.cl_temperature = cl_temperature

    def changed(self, ego: Tensor, seed: Seed) -> Tensor:
        """The final embeddings of one view.

        Args:
            ego: `[N, d]`, users first.
            seed: seed of the view.

        Returns:
            `[N, d']`, users first.
        """
        raise NotImplementedError

    def compared_items(self, batch: Batch) -> Tensor:
        """The items whose views are compared; here the positives."""
        return batch.positives

    def views(self, ego: Tensor, seed: Seed) -> tuple[Tensor, ...]:
        """The clean table, which ranks, and the two views; see `Backbone.views`."""
        return (self(ego, seed), *(self.changed(ego, view_seed(seed, view)) for view in (1, 2)))

    def terms(self, views: tuple[Tensor, ...], batch: Batch) -> dict[str, Tensor]:
        """BPR on the clean table and `cl_loss` on the views; see `Backbone.terms`."""
        clean, first, second = views
        tables = zip(self.split(first), self.split(second), strict=True)
        (users1, users2), (items1, items2) = tables
        # Positives and negatives have the same candidates: one sum over all of them.
        items, tau = self.compared_items(batch), self.cl_temperature
        total = ops.info_nce_by_id(users1, users2, batch.users, tau)
        total = total + ops.info_nce_by_id(items1, items2, items, tau)
        cl_loss = self.cl_weight / len(batch.users) * total
        return {**super().terms((clean,), batch), "cl_loss": cl_loss}


def view_seed(seed: Seed, view: int) -> Seed:
    """The seed of view 1 or 2 of a step."""
    return ops.derive_seed(seed, _VIEW, view)
