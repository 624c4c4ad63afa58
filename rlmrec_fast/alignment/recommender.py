"""A model: a backbone, and perhaps an alignment."""

from __future__ import annotations

from torch import Tensor, nn

from rlmrec_fast.alignment.base import Alignment
from rlmrec_fast.backbones.base import Backbone, Batch, squared_norm
from rlmrec_fast.graph import InteractionGraph


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

    def loss(self, batch: Batch, seed: int, step: int = 0) -> dict[str, Tensor]:
        """The loss of one batch, term by term and already weighted.

        Args:
            batch: the triplets.
            seed: seed of the step: of masks, dropout and noise.
            step: its number in the epoch, from 0.

        Returns:
            Scalars: the backbone's terms, `infomax_loss` of the alignment (added to the backbone's
            own where it has one), and `reg_loss` of all parameters. The total is their sum.
        """
        backbone, alignment = self.backbone, self.alignment
        backbone.prepare(step, seed)
        if alignment is None:
            terms = backbone.own_terms(batch, seed)
        else:
            ego, masked = alignment.mask(backbone.embedding, seed)
            views = backbone.views(ego, seed)
            terms = backbone.terms(views, batch)
            loss = alignment.loss(views[0], backbone.compared(batch), masked)
            terms["infomax_loss"] = loss + terms.get("infomax_loss", 0)
        terms["reg_loss"] = backbone.reg_weight * squared_norm(self.parameters())
        return terms

    def final(self) -> tuple[Tensor, Tensor]:
        """The embeddings used at inference: users `[U, d']` and items `[I, d']`."""
        return self.backbone.final()
