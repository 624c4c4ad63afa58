"""SGL: two views on thinned graphs, and a clean one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bench.reference.model import Backbone, Batch, Tables, drop_edges, propagate
from bench.reference.simgcl import view_loss


class SGL(Backbone):
    """SGL as RLMRec trains it, and with the method's other two augmentations.

    Args:
        adjacency: from `normalized_adjacency`.
        num_users: U.
        num_items: I.
        dim: d.
        num_layers: L.
        augmentation: `edge_drop`; `random_walk`, other edges in every layer; or `node_drop`, the
            edges of dropped nodes.
        keep_rate: share of directed edges, or of nodes, kept in a view.
        reg_weight: weight of the squared L2 norm of all parameters.
        cl_weight: weight of the contrastive loss.
        cl_temperature: its temperature.
    """

    def __init__(
        self,
        adjacency: Tensor,
        num_users: int,
        num_items: int,
        dim: int = 32,
        num_layers: int = 3,
        augmentation: str = "edge_drop",
        keep_rate: float = 0.8,
        reg_weight: float = 1e-5,
        cl_weight: float = 0.1,
        cl_temperature: float = 0.2,
    ) -> None:
        super().__init__(adjacency, num_users, num_items, dim, num_layers, reg_weight)
        self.augmentation, self.keep_rate = augmentation, keep_rate
        self.cl_weight, self.cl_temperature = cl_weight, cl_temperature

    def thinned(self, ego: Tensor, drawn: Any) -> Tensor:
        """The sum of all layers of a view."""
        if self.augmentation == "random_walk":
            layers = [ego]
            for layer in range(self.num_layers):
                mask = None if drawn is None else drawn[layer]
                adjacency = drop_edges(self.adjacency, self.keep_rate, mask)
                layers.append(torch.spmm(adjacency, layers[-1]))
            result: Tensor = sum(layers[1:], layers[0])
            return result
        mask = drawn
        if self.augmentation == "node_drop":
            kept = drawn
            if kept is None:
                kept = torch.rand(len(ego), device=ego.device) < self.keep_rate
            mask = kept[self.adjacency._indices()].all(dim=0)
        adjacency = drop_edges(self.adjacency, self.keep_rate, mask)
        return propagate(adjacency, ego, self.num_layers)

    def views(self, ego: Tensor, drawn: Any = None) -> tuple[Tables, ...]:
        """The clean tables and both views.

        Args:
            ego: [N, d], users first.
            drawn: for each view what to keep: bool [nnz], a list of these, one a layer, for a
                random walk, or bool [N] for nodes.
        """
        clean = propagate(self.adjacency, ego, self.num_layers)
        others = (self.thinned(ego, None if drawn is None else drawn[view]) for view in (0, 1))
        return tuple(self.split(table) for table in (clean, *others))

    def terms(self, views: tuple[Tables, ...], batch: Batch) -> dict[str, Tensor]:
        """BPR on the clean tables, InfoNCE between the views of users, positives and negatives."""
        users, positives, negatives = batch
        clean, *pair = views
        loss = clean[0].new_zeros(())
        for side, ids in ((0, users), (1, positives), (1, negatives)):
            loss = loss + view_loss(pair, side, ids, self.cl_temperature)
        cl_loss = self.cl_weight * (loss / len(users))
        return {**super().terms((clean,), batch), "cl_loss": cl_loss}
