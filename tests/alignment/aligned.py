"""Small models with alignments, and their losses written out."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from rlmrec_fast.alignment import ALIGNMENTS, Alignment, Recommender, Sizes
from rlmrec_fast.backbones import Backbone, Batch, LightGCN
from rlmrec_fast.graph import InteractionGraph

USERS, ITEMS, WIDTH = 33, 21, 13


def make_graph() -> InteractionGraph:
    """The last user and the last item have no interactions."""
    rng = np.random.default_rng(0)
    users, items = rng.integers(0, USERS - 1, 200), rng.integers(0, ITEMS - 1, 200)
    return InteractionGraph.from_pairs(users, items, USERS, ITEMS)


def make_text(dtype: torch.dtype = torch.float32, width: int = WIDTH) -> Tensor:
    generator = torch.Generator().manual_seed(4)
    return torch.randn(USERS + ITEMS, width, generator=generator).to(dtype)


def make_batch(size: int = 40) -> Batch:
    """More rows than users or items, so that all three columns repeat themselves."""
    generator = torch.Generator().manual_seed(1)
    return Batch(*(torch.randint(high, (size,), generator=generator) for high in (USERS, 9, ITEMS)))


class Concatenated(LightGCN):
    """Final embeddings wider than ego embeddings, and a parameter that the loss does not see."""

    def __init__(self, graph: InteractionGraph, **settings) -> None:
        super().__init__(graph, **settings)
        self.unused = torch.nn.Parameter(torch.ones(2, 2))

    @property
    def final_dim(self) -> int:
        return 2 * self.embedding.shape[1]

    def forward(self, ego: Tensor, seed: int) -> Tensor:
        return torch.cat([ego, super().forward(ego, seed)], 1)


class ThreeViews(LightGCN):
    """A clean view that ranks and two dropped ones with a loss of their own; no negatives."""

    def views(self, ego: Tensor, seed: int) -> tuple[Tensor, ...]:
        others = [self(ego, seed + view) for view in (1, 2)]
        return (super().forward(ego, seed), *others)

    def terms(self, views: tuple[Tensor, ...], batch: Batch) -> dict[str, Tensor]:
        own = {"infomax_loss": views[0].square().mean()}
        return {**super().terms(views, batch), "cl_loss": F.mse_loss(*views[1:]), **own}

    def compared(self, batch: Batch) -> Batch:
        return batch._replace(negatives=batch.negatives[:0])


KINDS: dict[str, type[Backbone]] = {
    "lightgcn": LightGCN,
    "concatenated": Concatenated,
    "views": ThreeViews,
}


def make_backbone(kind: str = "lightgcn", **settings) -> Backbone:
    settings = {"dim": 6, "num_layers": 2, "keep_rate": 0.7, "reg_weight": 0.01} | settings
    return KINDS[kind](make_graph(), **settings)


def make_alignment(align: str, backbone: Backbone, text: Tensor | None = None, **settings):
    text = make_text() if text is None else text
    return ALIGNMENTS[align](text, Sizes.of(backbone), **settings)


def make_model(align: str, kind: str = "lightgcn", **settings) -> Recommender:
    backbone = make_backbone(kind)
    return Recommender(backbone, make_alignment(align, backbone, **settings))


def projected(alignment: Alignment, vectors: Tensor) -> Tensor:
    """The projector's two layers, on whole tables."""
    projector = alignment.projector
    hidden = vectors @ projector.weight1.T + projector.bias1
    hidden = torch.where(hidden > 0, hidden, 0.01 * hidden)
    return hidden @ projector.weight2.T + projector.bias2


def total(terms: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(terms.values())).sum()


def gradients(model: Recommender, loss: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    loss.backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
