"""RLMRec's alignments, contrastive and generative, of any eager model."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bench.reference.losses import info_nce, reconstruction
from bench.reference.model import Backbone, Loss, total


def projector(inputs: int, outputs: int, dtype: torch.dtype) -> nn.Sequential:
    """Two linear layers with a LeakyReLU between them, of the middle width."""
    hidden = (inputs + outputs) // 2
    layers = nn.Sequential(
        nn.Linear(inputs, hidden, dtype=dtype),
        nn.LeakyReLU(),
        nn.Linear(hidden, outputs, dtype=dtype),
    )
    for layer in layers:
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
    return layers


class Aligned(nn.Module):
    """A model and the projector that ties it to texts; its loss looks at the parameters of both.

    Args:
        backbone: the model.
        inputs: width of what is projected.
        outputs: width of what it is projected to.
    """

    def __init__(self, backbone: Backbone, inputs: int, outputs: int) -> None:
        super().__init__()
        self.backbone = backbone
        adjacency = backbone.adjacency
        self.projector = projector(inputs, outputs, adjacency.dtype).to(adjacency.device)

    def total(self, terms: dict[str, Tensor], alignment: Tensor) -> Loss:
        """All terms with that of the alignment, which may stand beside one of the model's own."""
        own = terms.get("infomax_loss")
        infomax = alignment if own is None else own + alignment
        return total(self, self.backbone.reg_weight, {**terms, "infomax_loss": infomax})

    def counterparts(self) -> dict[str, list[nn.Parameter]]:
        """See `Backbone.counterparts`."""
        backbone = self.backbone.counterparts()
        pairs = {f"backbone.{name}": parts for name, parts in backbone.items()}
        for number, layer in enumerate((self.projector[0], self.projector[2]), start=1):
            assert isinstance(layer, nn.Linear)
            pairs[f"alignment.projector.weight{number}"] = [layer.weight]
            pairs[f"alignment.projector.bias{number}"] = [layer.bias]
        return pairs


class Contrastive(Aligned):
    """RLMRec-Con: embeddings are drawn to the projected texts of their users and items.

    Mirrors the public code: the texts of ALL users and ALL items go through the projector in every
    step, whichever of them the batch needs.

    Args:
        backbone: the model.
        user_texts: [U, t].
        item_texts: [I, t].
        kd_weight: weight of the alignment.
        kd_temperature: its temperature.
    """

    def __init__(
        self,
        backbone: Backbone,
        user_texts: Tensor,
        item_texts: Tensor,
        kd_weight: float = 1e-2,
        kd_temperature: float = 0.2,
    ) -> None:
        super().__init__(backbone, user_texts.shape[1], backbone.final_dim)
        self.kd_weight, self.kd_temperature = kd_weight, kd_temperature
        adjacency = backbone.adjacency
        self.user_texts = user_texts.to(adjacency.device, adjacency.dtype)
        self.item_texts = item_texts.to(adjacency.device, adjacency.dtype)

    def loss(self, users: Tensor, positives: Tensor, negatives: Tensor, drawn: Any = None) -> Loss:
        """The loss of a batch and its terms; `infomax_loss` is the alignment.

        Args:
            users: [B].
            positives: [B].
            negatives: [B].
            drawn: see `Backbone.views`.
        """
        views = self.backbone.views(self.backbone.ego(), drawn)
        terms = self.backbone.terms(views, (users, positives, negatives))
        user_table, item_table = views[0]
        user_texts, item_texts = self.projector(self.user_texts), self.projector(self.item_texts)
        tau = self.kd_temperature
        loss = info_nce(user_table[users], user_texts[users], user_texts, tau)
        for items in (positives, negatives) if self.backbone.contrasts_negatives else (positives,):
            texts = item_texts[items]
            loss = loss + info_nce(item_table[items], texts, texts, tau)
        return self.total(terms, self.kd_weight * (loss / len(users)))


class Generative(Aligned):
    """RLMRec-Gen: the texts of masked nodes are told from their embeddings.

    Args:
        backbone: the model.
        user_texts: [U, t].
        item_texts: [I, t].
        mask_ratio: share of the nodes that are masked in a step.
        recon_weight: weight of the reconstruction.
        recon_temperature: its temperature.
    """

    def __init__(
        self,
        backbone: Backbone,
        user_texts: Tensor,
        item_texts: Tensor,
        mask_ratio: float = 0.15,
        recon_weight: float = 0.1,
        recon_temperature: float = 0.5,
    ) -> None:
        super().__init__(backbone, backbone.final_dim, user_texts.shape[1])
        self.mask_ratio = mask_ratio
        self.recon_weight, self.recon_temperature = recon_weight, recon_temperature
        adjacency = backbone.adjacency
        texts = torch.cat([user_texts, item_texts])
        self.texts = texts.to(adjacency.device, adjacency.dtype)
        width = backbone.user_embedding.shape[1]
        self.mask_token = nn.Parameter(self.texts.new_zeros(1, width))

    def draw_masked(self) -> Tensor:
        """The nodes to mask in a step, drawn without replacement."""
        nodes = len(self.texts)
        size = max(1, int(nodes * self.mask_ratio))
        drawn = np.random.choice(nodes, size, replace=False)  # noqa: NPY002
        return torch.from_numpy(drawn).to(self.texts.device)

    def masked_ego(self, masked: Tensor) -> Tensor:
        """The ego table with the token in the masked rows: a product with 0 or 1 for every row."""
        kept = self.texts.new_ones(len(self.texts), 1)
        kept[masked] = 0
        return self.backbone.ego() * kept + self.mask_token * (1 - kept)

    def loss(
        self,
        users: Tensor,
        positives: Tensor,
        negatives: Tensor,
        drawn: Any = None,
        masked: Tensor | None = None,
    ) -> Loss:
        """The loss of a batch and its terms; `infomax_loss` is the reconstruction.

        Args:
            users: [B].
            positives: [B].
            negatives: [B].
            drawn: see `Backbone.views`.
            masked: the nodes to mask, instead of drawing them.
        """
        masked = self.draw_masked() if masked is None else masked
        views = self.backbone.views(self.masked_ego(masked), drawn)
        terms = self.backbone.terms(views, (users, positives, negatives))
        rebuilt = self.projector(torch.cat(views[0])[masked])
        loss = reconstruction(rebuilt, self.texts[masked], self.recon_temperature)
        return self.total(terms, self.recon_weight * loss)

    def counterparts(self) -> dict[str, list[nn.Parameter]]:
        """See `Backbone.counterparts`."""
        return {**super().counterparts(), "alignment.mask_token": [self.mask_token]}
