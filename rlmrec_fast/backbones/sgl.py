"""SGL: LightGCN with a contrastive loss between two views of thinned graphs."""

from __future__ import annotations

import torch
from torch import Tensor

from rlmrec_fast import ops
from rlmrec_fast.backbones.base import Batch, check_bounds
from rlmrec_fast.backbones.views import TwoViews
from rlmrec_fast.graph import InteractionGraph
from rlmrec_fast.ops.random import Seed, hash_pairs, rate_threshold

AUGMENTATIONS = ("edge_drop", "node_drop", "random_walk")
"""The ways to thin the graph of a view."""


class SGL(TwoViews):
    """SGL: in two views nodes or directed edges are dropped with probability `1 - keep_rate`.

    - `edge_drop`: `E_{l+1} = M(Â) E_l`, one mask of edges per view.
    - `random_walk`: another mask of edges in each layer.
    - `node_drop`: `E_{l+1} = m * Â (m * E_l)`, one mask m of nodes per view, so that the edges at a
      dropped node vanish; its own ego embedding stays.

    Nothing is rescaled. The clean table `E_0 + ... + E_L` ranks. See `TwoViews` for the loss, which
    compares users, positives and negatives.

    Args:
        graph: the training interactions.
        dim: embedding size d.
        num_layers: number of propagations L, at least 0.
        augmentation: `edge_drop`, `node_drop` or `random_walk`.
        keep_rate: share of edges or nodes kept in a view, in (0, 1].
        reg_weight: weight of the squared L2 norm of the embeddings.
        cl_weight: weight of the contrastive loss, at least 0.
        cl_temperature: tau, above 0.
        seed: seed of the initialisation.

    Raises:
        ValueError: a value is out of bounds.
    """

    paper = "Wu et al., SGL, SIGIR 2021, arXiv 2010.10783"

    def __init__(
        self,
        graph: InteractionGraph,
        dim: int = 32,
        num_layers: int = 3,
        augmentation: str = "edge_drop",
        keep_rate: float = 0.8,
        reg_weight: float = 1e-5,
        cl_weight: float = 0.1,
        cl_temperature: float = 0.2,
        seed: int = 2023,
    ) -> None:
        known = augmentation in AUGMENTATIONS
        check_bounds("SGL", num_layers >= 0, "num_layers must be >= 0", num_layers)
        check_bounds(
            "SGL", known, f"augmentation must be one of {', '.join(AUGMENTATIONS)}", augmentation
        )
        check_bounds("SGL", 0 < keep_rate <= 1, "keep_rate must be in (0, 1]", keep_rate)
        super().__init__(graph, dim, reg_weight, cl_weight, cl_temperature, seed)
        self.num_layers = num_layers
        self.augmentation = augmentation
        self.keep_rate = keep_rate

    def forward(self, ego: Tensor, seed: Seed) -> Tensor:
        """The sum of all layers of the whole graph; see `Backbone.forward`."""
        return ops.propagate(ego, self.graph, self.num_layers)

    def changed(self, ego: Tensor, seed: Seed) -> Tensor:
        """The sum of all layers of a thinned graph; see `TwoViews.changed`."""
        if self.augmentation == "edge_drop":
            return ops.propagate(
                ego, self.graph, self.num_layers, keep_rate=self.keep_rate, seed=seed
            )
        total = layer = ego
        mask = None
        if self.augmentation == "node_drop":
            mask = node_mask(len(ego), self.keep_rate, seed).to(ego, non_blocking=True)
        for number in range(self.num_layers):
            layer = self._walk(layer, seed, number) if mask is None else self._spread(layer, mask)
            total = total + layer
        return total

    def _walk(self, layer: Tensor, seed: Seed, number: int) -> Tensor:
        """The next layer over edges that are kept for it alone."""
        own, keep_rate = layer_seed(seed, number), self.keep_rate
        return ops.propagate(layer, self.graph, 1, combine="last", keep_rate=keep_rate, seed=own)

    def _spread(self, layer: Tensor, mask: Tensor) -> Tensor:
        """The next layer among the nodes that are kept."""
        return mask * ops.propagate(mask * layer, self.graph, 1, combine="last")

    def compared_items(self, batch: Batch) -> Tensor:
        """Positives and negatives; see `TwoViews.compared_items`."""
        return torch.cat([batch.positives, batch.negatives])


def layer_seed(seed: Seed, layer: int) -> Seed:
    """The seed of a layer's edges in a random walk's view."""
    return ops.derive_seed(seed, layer)


def node_mask(count: int, keep_rate: float, seed: Seed) -> Tensor:
    """Which of the nodes a view keeps: bool `[count, 1]`, a hash of seed and node.

    It is on the CPU, or where a seed that is a tensor is.
    """
    device = seed.device if isinstance(seed, Tensor) else "cpu"
    if keep_rate >= 1:
        return torch.ones(count, 1, dtype=torch.bool, device=device)
    nodes = torch.arange(count, device=device)
    hashes = hash_pairs(seed, nodes, torch.zeros_like(nodes[:1]))
    return (hashes < rate_threshold(keep_rate))[:, None]
