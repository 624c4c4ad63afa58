"""SimGCL: LightGCN with a contrastive loss between two views perturbed by noise."""

from __future__ import annotations

from torch import Tensor

from rlmrec_fast import ops
from rlmrec_fast.backbones.base import check_bounds
from rlmrec_fast.backbones.views import TwoViews
from rlmrec_fast.graph import InteractionGraph
from rlmrec_fast.ops.random import Seed


class SimGCL(TwoViews):
    """SimGCL: in two views every layer is moved a distance eps within its orthant.

    After each propagation `E_l += eps * sign(E_l) * n / ||n||`, n uniform in [0, 1)^d, fresh per
    row, layer and view. The clean table `E_0 + ... + E_L` ranks. See `TwoViews` for the loss, which
    compares users and positives.

    Args:
        graph: the training interactions.
        dim: embedding size d.
        num_layers: number of propagations L, at least 0.
        reg_weight: weight of the squared L2 norm of the embeddings.
        noise: eps, at least 0.
        cl_weight: weight of the contrastive loss, at least 0.
        cl_temperature: tau, above 0.
        seed: seed of the initialisation.

    Raises:
        ValueError: a value is out of bounds.
    """

    paper = "Yu et al., SimGCL, SIGIR 2022, arXiv 2112.08679"

    def __init__(
        self,
        graph: InteractionGraph,
        dim: int = 32,
        num_layers: int = 3,
        reg_weight: float = 1e-5,
        noise: float = 0.9,
        cl_weight: float = 0.1,
        cl_temperature: float = 0.2,
        seed: int = 2023,
    ) -> None:
        check_bounds("SimGCL", num_layers >= 0, "num_layers must be >= 0", num_layers)
        check_bounds("SimGCL", noise >= 0, "noise must be >= 0", noise)
        super().__init__(graph, dim, reg_weight, cl_weight, cl_temperature, seed)
        self.num_layers = num_layers
        self.noise = noise

    def forward(self, ego: Tensor, seed: Seed) -> Tensor:
        """The sum of all layers, without noise; see `Backbone.forward`."""
        return ops.propagate(ego, self.graph, self.num_layers)

    def changed(self, ego: Tensor, seed: Seed) -> Tensor:
        """The sum of all layers, perturbed; see `TwoViews.changed`."""
        return ops.propagate(ego, self.graph, self.num_layers, noise=self.noise, seed=seed)
