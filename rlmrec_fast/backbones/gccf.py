"""GCCF: propagation with self-loops, the layers side by side."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from rlmrec_fast import ops
from rlmrec_fast.backbones.base import RankingBackbone, check_bounds
from rlmrec_fast.graph import InteractionGraph
from rlmrec_fast.ops.random import Seed

# What a derived seed is for; 1 to 3 are the trainer's, 4 the projector's.
_WEIGHTS = 5


class GCCF(RankingBackbone):
    """Linear residual graph convolution: `E_{l+1} = Â E_l`, final embeddings `[E_0, ..., E_L]`.

    Â is that of A + I, and nothing is dropped. As in RLMRec every layer owns a d x d matrix that is
    not applied, only kept small by `reg_loss`: no embedding depends on it.

    Args:
        graph: the training interactions, with self-loops.
        dim: embedding size d.
        num_layers: number of propagations L, at least 0.
        reg_weight: weight of the squared L2 norm of the embeddings and the matrices.
        seed: seed of the initialisation.

    Raises:
        ValueError: a value is out of bounds, or the graph has no self-loops.
    """

    paper = "Chen et al., LR-GCCF, AAAI 2020, arXiv 2001.10167"
    self_loops = True

    def __init__(
        self,
        graph: InteractionGraph,
        dim: int = 32,
        num_layers: int = 2,
        reg_weight: float = 1e-6,
        seed: int = 2023,
    ) -> None:
        check_bounds("GCCF", num_layers >= 0, "num_layers must be >= 0", num_layers)
        super().__init__(graph, dim, reg_weight, seed)
        self.num_layers = num_layers
        generator = torch.Generator().manual_seed(ops.derive_seed(seed, _WEIGHTS))
        weights = torch.empty(num_layers, dim, dim)
        for weight in weights:
            nn.init.xavier_uniform_(weight, generator=generator)
        self.weights = nn.Parameter(weights.to(graph.device))

    @property
    def final_dim(self) -> int:
        """(L + 1) d."""
        return (self.num_layers + 1) * super().final_dim

    def propagation(self, seed: Seed) -> dict[str, Any]:
        """All layers side by side; see `RankingBackbone.propagation`."""
        return {"num_layers": self.num_layers, "combine": "concat"}
