"""DCCF: propagation, intents and adaptive graphs, layer by layer, and a loss that compares them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rlmrec_fast import ops
from rlmrec_fast.backbones.base import Backbone, Batch, Members, check_bounds, members
from rlmrec_fast.graph import InteractionGraph
from rlmrec_fast.ops.random import Seed

# What a seed derived from the model's is for; large, because operators count theirs from 0.
_INTENTS = 0x496E7465


class DCCF(Backbone):
    """DCCF without dropout: every layer adds four messages to its input.

    All are made from the layer's input `E`:

    - `gnn = Â E`;
    - `intent = softmax(E W) W^T` with a matrix `W [d, K]` of intents for users, another for items;
    - two adaptive graphs that average `E` over neighbours, weighted by `(cos + 1) / 2` of both
      ends' `gnn`, or of both ends' `intent` (`ops.adaptive_propagate`).

    The next layer takes their sum plus `E`; the sum of all layers' inputs and the last output
    ranks. With u the batch's distinct users, p its distinct positives, and InfoNCE as
    `ops.info_nce`,

        cl = cl_weight / |u| * sum over layers and over the three other messages m of
             ( InfoNCE(gnn[u], m[u], m[u]) + InfoNCE(gnn[p], m[p], m[p]) ).

    The items' part is divided by the number of users as well, as the public implementation does.

    Args:
        graph: the training interactions.
        dim: embedding size d.
        num_layers: L, at least 0.
        reg_weight: weight of the squared L2 norm of embeddings and intents.
        num_intents: K, at least 1.
        cl_weight: weight of the contrastive loss, at least 0.
        cl_temperature: tau, above 0.
        seed: seed of the initialisation.

    Raises:
        ValueError: a value is out of bounds.
    """

    paper = "Ren et al., DCCF, SIGIR 2023, arXiv 2305.02759"

    def __init__(
        self,
        graph: InteractionGraph,
        dim: int = 32,
        num_layers: int = 2,
        reg_weight: float = 1e-4,
        num_intents: int = 128,
        cl_weight: float = 1e-3,
        cl_temperature: float = 0.1,
        seed: int = 2023,
    ) -> None:
        check_bounds("DCCF", num_layers >= 0, "num_layers must be >= 0", num_layers)
        check_bounds("DCCF", num_intents >= 1, "num_intents must be at least 1", num_intents)
        check_bounds("DCCF", cl_weight >= 0, "cl_weight must be >= 0", cl_weight)
        check_bounds("DCCF", cl_temperature > 0, "cl_temperature must be > 0", cl_temperature)
        super().__init__(graph, dim, reg_weight, seed)
        self.num_layers = num_layers
        self.cl_weight = cl_weight
        self.cl_temperature = cl_temperature
        generator = torch.Generator().manual_seed(ops.derive_seed(seed, _INTENTS))
        intents = torch.empty(2, dim, num_intents)
        for matrix in intents:
            nn.init.xavier_uniform_(matrix, generator=generator)
        self.user_intents = nn.Parameter(intents[0].to(graph.device))
        self.item_intents = nn.Parameter(intents[1].to(graph.device))

    def forward(self, ego: Tensor, seed: Seed) -> Tensor:
        """The sum of all layers; see `Backbone.forward`."""
        return self.views(ego, seed)[0]

    def views(self, ego: Tensor, seed: Seed) -> tuple[Tensor, ...]:
        """The sum of all layers, then the four messages of each; see `Backbone.views`."""
        total = layer = ego
        messages: list[Tensor] = []
        for _ in range(self.num_layers):
            gnn = ops.propagate(layer, self.graph, 1, combine="last")
            intent = self._intent(layer)
            by_gnn = ops.adaptive_propagate(gnn, layer, self.graph)
            by_intent = ops.adaptive_propagate(intent, layer, self.graph)
            messages += [gnn, intent, by_gnn, by_intent]
            layer = gnn + intent + by_gnn + by_intent + layer
            total = total + layer
        return (total, *messages)

    def terms(self, views: tuple[Tensor, ...], batch: Batch) -> dict[str, Tensor]:
        """BPR on the ranking table and `cl_loss` between the messages; see `Backbone.terms`."""
        final, *messages = views
        users = members(batch.users, self.graph.num_users)
        positives = members(batch.positives, self.graph.num_items)
        positives = positives._replace(rows=positives.rows + self.graph.num_users)
        total = final.new_zeros(())
        for first in range(0, len(messages), 4):
            for nodes in (users, positives):
                total = total + self._contrast(messages[first : first + 4], nodes)
        cl_loss = self.cl_weight / users.number * total
        return {**super().terms((final,), batch), "cl_loss": cl_loss}

    def _intent(self, layer: Tensor) -> Tensor:
        """Every node as a mixture of its side's intents."""
        pairs = zip(self.split(layer), (self.user_intents, self.item_intents), strict=True)
        return torch.cat([(part @ matrix).softmax(1) @ matrix.T for part, matrix in pairs])

    def _contrast(self, messages: Sequence[Tensor], nodes: Members) -> Tensor:
        """The first message of some nodes against each of the others."""
        query, *others = (ops.gather(message, nodes.rows) for message in messages)
        losses = [
            ops.info_nce(
                query,
                other,
                other,
                self.cl_temperature,
                query_weight=nodes.weights,
                candidate_weight=nodes.weights,
            )
            for other in others
        ]
        return torch.stack(losses).sum()
