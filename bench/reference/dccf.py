"""DCCF: four messages a layer, two of them over graphs whose weights are made in every step."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.reference.losses import info_nce
from bench.reference.model import Backbone, Batch, Tables


class DCCF(Backbone):
    """DCCF as RLMRec trains it: no dropout, and messages compared layer by layer.

    Args:
        adjacency: from `normalized_adjacency`.
        num_users: U.
        num_items: I.
        dim: d.
        num_layers: L.
        reg_weight: weight of the squared L2 norm of all parameters.
        num_intents: intents of users, and of items.
        cl_weight: weight of the contrastive loss.
        cl_temperature: its temperature.
    """

    def __init__(
        self,
        adjacency: Tensor,
        num_users: int,
        num_items: int,
        dim: int = 32,
        num_layers: int = 2,
        reg_weight: float = 1e-4,
        num_intents: int = 128,
        cl_weight: float = 1e-3,
        cl_temperature: float = 0.1,
    ) -> None:
        super().__init__(adjacency, num_users, num_items, dim, num_layers, reg_weight)
        self.cl_weight, self.cl_temperature = cl_weight, cl_temperature
        self.user_intents = self.matrix(dim, num_intents)
        self.item_intents = self.matrix(dim, num_intents)

    def adaptive(self, message: Tensor, ego: Tensor) -> Tensor:
        """The mean of `ego` over neighbours, weighted by (cos + 1) / 2 of both ends' messages.

        Mirrors the public adaptive mask: both ends of every edge gathered and normalised, weights
        divided by their sums, and a product by gathering, multiplying and scattering, as its sparse
        library has it. `torch.sparse.mm` would make the weights' gradient from an N x N matrix.
        """
        rows, columns = self.adjacency._indices()
        heads, tails = F.normalize(message[rows]), F.normalize(message[columns])
        weights = ((heads * tails).sum(dim=1) + 1) / 2
        sums = weights.new_zeros(len(ego)).index_add(0, rows, weights)
        inverse = sums.pow(-1).nan_to_num(0, 0, 0)
        shares = inverse[rows] * weights
        return torch.zeros_like(ego).index_add(0, rows, shares[:, None] * ego[columns])

    def intent(self, ego: Tensor) -> Tensor:
        """Every node as a mixture of its side's intents."""
        users, items = self.split(ego)
        user_part = torch.softmax(users @ self.user_intents, dim=1) @ self.user_intents.T
        item_part = torch.softmax(items @ self.item_intents, dim=1) @ self.item_intents.T
        return torch.cat([user_part, item_part])

    def views(self, ego: Tensor, drawn: Any = None) -> tuple[Tables, ...]:
        """The final tables, then those of four messages a layer; nothing is drawn."""
        layers, messages = [ego], []
        for _ in range(self.num_layers):
            gnn = torch.spmm(self.adjacency, layers[-1])
            intent = self.intent(layers[-1])
            by_gnn, by_intent = (self.adaptive(m, layers[-1]) for m in (gnn, intent))
            messages += [gnn, intent, by_gnn, by_intent]
            layers.append(gnn + intent + by_gnn + by_intent + layers[-1])
        final: Tensor = sum(layers[1:], layers[0])
        return tuple(self.split(table) for table in (final, *messages))

    def terms(self, views: tuple[Tables, ...], batch: Batch) -> dict[str, Tensor]:
        """BPR on the final tables, InfoNCE of the first message of a layer against the others."""
        users, positives, _ = batch
        final, *messages = views
        unique = users.unique(), positives.unique()
        loss = final[0].new_zeros(())
        for first in range(0, len(messages), 4):
            gnn, *others = messages[first : first + 4]
            for other in others:
                for side, ids in enumerate(unique):
                    keys = other[side][ids]
                    loss = loss + info_nce(gnn[side][ids], keys, keys, self.cl_temperature)
        # The items' part, too, is divided by the number of users.
        cl_loss = self.cl_weight * (loss / len(unique[0]))
        return {**super().terms((final,), batch), "cl_loss": cl_loss}

    def counterparts(self) -> dict[str, list[torch.nn.Parameter]]:
        """See `Backbone.counterparts`."""
        return {
            **super().counterparts(),
            "user_intents": [self.user_intents],
            "item_intents": [self.item_intents],
        }
