"""A model: a backbone, and perhaps an alignment."""

from __future__ import annotations

from torch import Tensor, nn

from rlmrec_fast.alignment.base import Alignment
from rlmrec_fast.backbones.base import Backbone, Batch, squared_norm
from rlmrec_fast.graph import InteractionGraph
from rlmrec_fast.ops.random import Seed


class Recommender(nn.Module):
    """A backbone with or without an alignment, as it is trained.

    Neither part knows the other: the alignment sees tables, the backbone ego embeddings that may
    have been masked. Parameters and checkpoints hold both; at inference the backbone is alone.

    Args:
        backbone: makes final embeddings, and the loss on them.
        alignment: compares them with texts; None for the backbone's own loss.
    """

    def __init__(self, backbone: Backbone, alignment: Alignment | None = None) -> None:
        super().__init__()
        self.backbone = backbone
        self.alignment = alignment

    @property
    def graph(self) -> InteractionGraph:
        """The training interactions."""
        return self.backbone.graph

    def terms(self, batch: Batch, seed: Seed, step: int = 0) -> dict[str, Tensor]:
        """What a batch loses, term by term and already weighted, without `reg_loss`.

        Args:
            batch: the triplets.
            seed: seed of the step: of masks, dropout and noise.
            step: its number in the epoch, from 0.

        Returns:
            Scalars: the backbone's terms, and `infomax_loss` of the alignment (added to the
            backbone's own where it has one).
        """
        backbone, alignment = self.backbone, self.alignment
        backbone.prepare(step, seed)
        if alignment is None:
            return backbone.own_terms(batch, seed)
        ego, masked = alignment.mask(backbone.embedding, seed)
        views = backbone.views(ego, seed)
        terms = backbone.terms(views, batch)
        loss = alignment.loss(views[0], backbone.compared(batch), masked)
        terms["infomax_loss"] = loss + terms.get("infomax_loss", 0)
        return terms

    def reg_loss(self) -> Tensor:
        """`reg_weight` times the squared L2 norm of all parameters."""
        return self.backbone.reg_weight * squared_norm(self.parameters())

    def loss(self, batch: Batch, seed: Seed, step: int = 0) -> dict[str, Tensor]:
        """The loss of one batch: `terms` and `reg_loss`; the total is their sum."""
        return {**self.terms(batch, seed, step), "reg_loss": self.reg_loss()}

    def final(self) -> tuple[Tensor, Tensor]:
        """The embeddings used at inference: users `[U, d']` and items `[I, d']`."""
        return self.backbone.final()
