"""LightGCN with RLMRec's alignments, contrastive and generative."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bench.reference.losses import info_nce, reconstruction
from bench.reference.model import LightGCN, Loss


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


class ContrastiveLightGCN(LightGCN):
    """RLMRec-Con: embeddings are drawn to the projected texts of their users and items.

    Mirrors the public code: the texts of ALL users and ALL items go through the projector in every
    step, whichever of them the batch needs.

    Args:
        adjacency: from `normalized_adjacency`.
        user_texts: [U, t].
        item_texts: [I, t].
        kd_weight: weight of the alignment.
        kd_temperature: its temperature.
        options: of `LightGCN`.
    """

    def __init__(
        self,
        adjacency: Tensor,
        user_texts: Tensor,
        item_texts: Tensor,
        *,
        kd_weight: float = 1e-2,
        kd_temperature: float = 0.2,
        **options: Any,
    ) -> None:
        super().__init__(adjacency, len(user_texts), len(item_texts), **options)
        self.kd_weight, self.kd_temperature = kd_weight, kd_temperature
        self.user_texts = user_texts.to(adjacency.dtype)
        self.item_texts = item_texts.to(adjacency.dtype)
        width = self.user_embedding.shape[1]
        self.projector = projector(user_texts.shape[1], width, adjacency.dtype)

    def loss(
        self, users: Tensor, positives: Tensor, negatives: Tensor, mask: Tensor | None = None
    ) -> Loss:
        """The loss of a batch and its terms; `infomax_loss` is the alignment."""
        user_table, item_table = self(self.keep_rate, mask)
        batch = user_table[users], item_table[positives], item_table[negatives]
        user_texts, item_texts = self.projector(self.user_texts), self.projector(self.item_texts)
        targets = user_texts[users], item_texts[positives], item_texts[negatives]
        candidates = user_texts, targets[1], targets[2]
        alignment = torch.zeros((), dtype=user_table.dtype)
        for embeddings, own, others in zip(batch, targets, candidates, strict=True):
            alignment = alignment + info_nce(embeddings, own, others, self.kd_temperature)
        alignment = self.kd_weight * (alignment / len(users))
        return self.total(*batch, infomax_loss=alignment)


class GenerativeLightGCN(LightGCN):
    """RLMRec-Gen: the texts of masked nodes are told from their embeddings.

    Args:
        adjacency: from `normalized_adjacency`.
        user_texts: [U, t].
        item_texts: [I, t].
        mask_ratio: share of the nodes that are masked in a step.
        recon_weight: weight of the reconstruction.
        recon_temperature: its temperature.
        options: of `LightGCN`.
    """

    def __init__(
        self,
        adjacency: Tensor,
        user_texts: Tensor,
        item_texts: Tensor,
        *,
        mask_ratio: float = 0.15,
        recon_weight: float = 0.1,
        recon_temperature: float = 0.5,
        **options: Any,
    ) -> None:
        super().__init__(adjacency, len(user_texts), len(item_texts), **options)
        self.mask_ratio = mask_ratio
        self.recon_weight, self.recon_temperature = recon_weight, recon_temperature
        self.texts = torch.cat([user_texts, item_texts]).to(adjacency.dtype)
        width = self.user_embedding.shape[1]
        self.mask_token = nn.Parameter(torch.zeros(1, width, dtype=adjacency.dtype))
        self.projector = projector(width, self.texts.shape[1], adjacency.dtype)

    def draw_masked(self) -> Tensor:
        """The nodes to mask in a step, drawn without replacement."""
        nodes = len(self.texts)
        size = max(1, int(nodes * self.mask_ratio))
        return torch.from_numpy(np.random.choice(nodes, size, replace=False))  # noqa: NPY002

    def masked_ego(self, masked: Tensor) -> Tensor:
        """The ego table with the token in the masked rows: a product with 0 or 1 for every row."""
        kept = torch.ones(len(self.texts), 1, dtype=self.texts.dtype)
        kept[masked] = 0
        return self.ego() * kept + self.mask_token * (1 - kept)

    def loss(
        self,
        users: Tensor,
        positives: Tensor,
        negatives: Tensor,
        mask: Tensor | None = None,
        masked: Tensor | None = None,
    ) -> Loss:
        """The loss of a batch and its terms; `infomax_loss` is the reconstruction.

        Args:
            users: [B].
            positives: [B].
            negatives: [B].
            mask: bool [nnz], the edges to keep, instead of drawing them.
            masked: the nodes to mask, instead of drawing them.
        """
        masked = self.draw_masked() if masked is None else masked
        user_table, item_table = self(self.keep_rate, mask, self.masked_ego(masked))
        rebuilt = self.projector(torch.cat([user_table, item_table])[masked])
        loss = reconstruction(rebuilt, self.texts[masked], self.recon_temperature)
        batch = user_table[users], item_table[positives], item_table[negatives]
        return self.total(*batch, infomax_loss=self.recon_weight * loss)
