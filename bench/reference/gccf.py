"""GCCF: self-loops, layers side by side, matrices that only L2 looks at."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from bench.reference.model import Backbone, Tables


class GCCF(Backbone):
    """GCCF as RLMRec trains it: nothing dropped, a matrix a layer that is not applied.

    Args:
        adjacency: from `normalized_adjacency`, with self-loops.
        num_users: U.
        num_items: I.
        dim: d.
        num_layers: L.
        reg_weight: weight of the squared L2 norm of all parameters.
    """

    self_loops = True

    def __init__(
        self,
        adjacency: Tensor,
        num_users: int,
        num_items: int,
        dim: int = 32,
        num_layers: int = 2,
        reg_weight: float = 1e-6,
    ) -> None:
        super().__init__(adjacency, num_users, num_items, dim, num_layers, reg_weight)
        self.weights = nn.ParameterList(self.matrix(dim, dim) for _ in range(num_layers))

    @property
    def final_dim(self) -> int:
        """(L + 1) d."""
        return (self.num_layers + 1) * super().final_dim

    def views(self, ego: Tensor, drawn: Any = None) -> tuple[Tables, ...]:
        """The final tables; nothing is drawn."""
        layers = [ego]
        for _ in range(self.num_layers):
            layers.append(torch.spmm(self.adjacency, layers[-1]))
        return (self.split(torch.cat(layers, dim=-1)),)

    def counterparts(self) -> dict[str, list[nn.Parameter]]:
        """See `Backbone.counterparts`."""
        return {**super().counterparts(), "weights": list(self.weights)}
