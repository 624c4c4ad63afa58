"""SimGCL: two views perturbed by noise, and a clean one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.reference.losses import info_nce
from bench.reference.model import Backbone, Batch, Tables, propagate


class SimGCL(Backbone):
    """SimGCL as RLMRec trains it.

    Args:
        adjacency: from `normalized_adjacency`.
        num_users: U.
        num_items: I.
        dim: d.
        num_layers: L.
        reg_weight: weight of the squared L2 norm of all parameters.
        noise: length of the step that a row takes after every propagation.
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
        reg_weight: float = 1e-5,
        noise: float = 0.9,
        cl_weight: float = 0.1,
        cl_temperature: float = 0.2,
    ) -> None:
        super().__init__(adjacency, num_users, num_items, dim, num_layers, reg_weight)
        self.noise, self.cl_weight, self.cl_temperature = noise, cl_weight, cl_temperature

    def perturbed(self, ego: Tensor, drawn: Sequence[Tensor] | None) -> Tensor:
        """The sum of all layers, each moved along uniform noise of the layer's signs."""
        layers = [ego]
        for layer in range(self.num_layers):
            embeddings = torch.spmm(self.adjacency, layers[-1])
            uniform = torch.rand_like(embeddings) if drawn is None else drawn[layer]
            step = F.normalize(uniform.to(embeddings.dtype)) * torch.sign(embeddings)
            layers.append(embeddings + self.noise * step)
        result: Tensor = sum(layers[1:], layers[0])
        return result

    def views(self, ego: Tensor, drawn: Any = None) -> tuple[Tables, ...]:
        """The clean tables and both views; `drawn`: for each view uniform [N, d] a layer."""
        clean = propagate(self.adjacency, ego, self.num_layers)
        others = (self.perturbed(ego, None if drawn is None else drawn[view]) for view in (0, 1))
        return tuple(self.split(table) for table in (clean, *others))

    def terms(self, views: tuple[Tables, ...], batch: Batch) -> dict[str, Tensor]:
        """BPR on the clean tables, InfoNCE between the views of users and positives."""
        users, positives, _ = batch
        clean, *pair = views
        loss = view_loss(pair, 0, users, self.cl_temperature)
        loss = loss + view_loss(pair, 1, positives, self.cl_temperature)
        cl_loss = self.cl_weight * (loss / len(users))
        return {**super().terms((clean,), batch), "cl_loss": cl_loss}


def view_loss(pair: Sequence[Tables], side: int, ids: Tensor, temperature: float) -> Tensor:
    """InfoNCE of rows of view 1 with those of view 2, all rows of view 2 being candidates.

    Args:
        pair: both views.
        side: 0 for users, 1 for items.
        ids: the rows.
        temperature: tau.
    """
    first, second = pair[0][side], pair[1][side]
    return info_nce(first[ids], second[ids], second, temperature)
