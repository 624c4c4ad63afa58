"""LightGCN: plain propagation, the layers summed."""

from __future__ import annotations

from typing import Any

from rlmrec_fast.backbones.base import RankingBackbone, check_bounds
from rlmrec_fast.graph import InteractionGraph
from rlmrec_fast.ops.random import Seed


class LightGCN(RankingBackbone):
    """LightGCN with edge dropout: `E_{l+1} = M(Â) E_l`, final embeddings `E_0 + ... + E_L`.

    In training M drops every directed edge with probability `1 - keep_rate`, once per forward pass
    and without rescaling. The layers are summed, not averaged, as RLMRec does.

    Args:
        graph: the training interactions.
        dim: embedding size d.
        num_layers: number of propagations L, at least 0.
        keep_rate: share of directed edges kept in training, in (0, 1].
        reg_weight: weight of the squared L2 norm of the embeddings.
        seed: seed of the initialisation.

    Raises:
        ValueError: a value is out of bounds.
    """

    paper = "He et al., LightGCN, SIGIR 2020, arXiv 2002.02126"

    def __init__(
        self,
        graph: InteractionGraph,
        dim: int = 32,
        num_layers: int = 3,
        keep_rate: float = 0.8,
        reg_weight: float = 1e-6,
        seed: int = 2023,
    ) -> None:
        check_bounds("LightGCN", num_layers >= 0, "num_layers must be >= 0", num_layers)
        check_bounds("LightGCN", 0 < keep_rate <= 1, "keep_rate must be in (0, 1]", keep_rate)
        super().__init__(graph, dim, reg_weight, seed)
        self.num_layers = num_layers
        self.keep_rate = keep_rate

    def propagation(self, seed: Seed) -> dict[str, Any]:
        """The sum of all layers; see `RankingBackbone.propagation`."""
        keep_rate = self.keep_rate if self.training else 1.0
        return {"num_layers": self.num_layers, "keep_rate": keep_rate, "seed": seed}
