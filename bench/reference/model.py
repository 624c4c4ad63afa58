"""LightGCN on a COO adjacency."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
import torch.nn.functional as F
from torch import Tensor, nn

Loss = tuple[Tensor, dict[str, Tensor]]
"""A loss, and its terms, already weighted."""


def normalized_adjacency(train: Any, dtype: torch.dtype = torch.float32) -> Tensor:
    """D^-1/2 A D^-1/2 of the bipartite graph, rows of degree 0 left empty.

    Args:
        train: scipy sparse U x I, non-zero = interaction.
        dtype: of the values.

    Returns:
        Sparse COO [N, N], coalesced: entries by row, then by column.
    """
    interactions: Any = sp.csr_matrix(train != 0, dtype=np.float64)
    adjacency: Any = sp.bmat([[None, interactions], [interactions.T, None]], format="csr")
    degrees = np.asarray(adjacency.sum(axis=1)).ravel()
    scale = np.zeros_like(degrees)
    np.power(degrees, -0.5, out=scale, where=degrees > 0)
    diagonal: Any = sp.diags(scale)
    normalized = (diagonal @ adjacency @ diagonal).tocsr()
    normalized.sort_indices()
    entries = normalized.tocoo()
    indices = torch.from_numpy(np.stack([entries.row, entries.col]).astype(np.int64))
    values = torch.from_numpy(entries.data).to(dtype)
    return torch.sparse_coo_tensor(
        indices, values, entries.shape, is_coalesced=True, check_invariants=False
    )


def drop_edges(adjacency: Tensor, keep_rate: float, mask: Tensor | None = None) -> Tensor:
    """The adjacency with every entry kept with probability `keep_rate`, values not rescaled.

    Mirrors the public edge dropout: a boolean mask over all entries, indices and values copied
    through it, and a new COO tensor, not marked as coalesced.

    Args:
        adjacency: sparse COO.
        keep_rate: in (0, 1]; 1 gives the adjacency itself.
        mask: bool [nnz] to use instead of drawing one.
    """
    if keep_rate == 1.0:
        return adjacency
    values, indices = adjacency._values(), adjacency._indices()
    if mask is None:
        mask = (torch.rand(values.shape[0]) + keep_rate).floor().type(torch.bool)
    return torch.sparse_coo_tensor(
        indices[:, mask], values[mask], adjacency.shape, check_invariants=False
    )


def propagate(adjacency: Tensor, ego: Tensor, num_layers: int) -> Tensor:
    """The sum of E_0 .. E_L, one `torch.spmm` a layer."""
    layers = [ego]
    for _ in range(num_layers):
        layers.append(torch.spmm(adjacency, layers[-1]))
    result: Tensor = sum(layers[1:], layers[0])
    return result


class LightGCN(nn.Module):
    """LightGCN as RLMRec trains it: edge dropout, layers summed, BPR and L2 of all parameters.

    Args:
        adjacency: from `normalized_adjacency`.
        num_users: U.
        num_items: I.
        dim: d.
        num_layers: L.
        keep_rate: share of directed edges kept in training.
        reg_weight: weight of the squared L2 norm of both tables.
    """

    def __init__(
        self,
        adjacency: Tensor,
        num_users: int,
        num_items: int,
        dim: int = 32,
        num_layers: int = 3,
        keep_rate: float = 0.8,
        reg_weight: float = 1e-6,
    ) -> None:
        super().__init__()
        self.adjacency = adjacency
        self.sizes = [num_users, num_items]
        self.num_layers = num_layers
        self.keep_rate = keep_rate
        self.reg_weight = reg_weight
        dtype = adjacency.dtype
        initialize = nn.init.xavier_uniform_
        self.user_embedding = nn.Parameter(initialize(torch.empty(num_users, dim, dtype=dtype)))
        self.item_embedding = nn.Parameter(initialize(torch.empty(num_items, dim, dtype=dtype)))

    def ego(self) -> Tensor:
        """E_0, users first."""
        return torch.cat([self.user_embedding, self.item_embedding])

    def forward(
        self, keep_rate: float, mask: Tensor | None = None, ego: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The final tables, users [U, d] and items [I, d].

        Args:
            keep_rate: share of directed edges that are kept.
            mask: bool [nnz], the edges to keep, instead of drawing them.
            ego: what to propagate instead of `ego()`.
        """
        adjacency = drop_edges(self.adjacency, keep_rate, mask)
        ego = self.ego() if ego is None else ego
        users, items = propagate(adjacency, ego, self.num_layers).split(self.sizes)
        return users, items

    def loss(
        self, users: Tensor, positives: Tensor, negatives: Tensor, mask: Tensor | None = None
    ) -> Loss:
        """The loss of a batch, and its two terms, already weighted."""
        user_table, item_table = self(self.keep_rate, mask)
        return self.total(user_table[users], item_table[positives], item_table[negatives])

    def total(
        self, anchors: Tensor, positives: Tensor, negatives: Tensor, **others: Tensor
    ) -> Loss:
        """BPR of a batch's embeddings, plus L2 of all parameters, plus other terms."""
        positive_scores = (anchors * positives).sum(dim=-1)
        negative_scores = (anchors * negatives).sum(dim=-1)
        rec_loss = F.softplus(negative_scores - positive_scores).sum() / len(anchors)
        reg_loss = torch.zeros((), dtype=rec_loss.dtype)
        for parameter in self.parameters():
            reg_loss = reg_loss + parameter.norm(2).square()
        terms = {"rec_loss": rec_loss, "reg_loss": self.reg_weight * reg_loss, **others}
        loss = rec_loss
        for term in list(terms.values())[1:]:
            loss = loss + term
        return loss, terms
