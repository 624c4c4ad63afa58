"""What every eager model does: a COO adjacency, tables, BPR and L2; and LightGCN."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import scipy.sparse as sp
import torch
import torch.nn.functional as F
from torch import Tensor, nn

Loss = tuple[Tensor, dict[str, Tensor]]
"""A loss, and its terms, already weighted."""
Tables = tuple[Tensor, Tensor]
"""Users' and items' embeddings."""
Batch = tuple[Tensor, Tensor, Tensor]
"""Users, positives and negatives."""


def normalized_adjacency(
    train: Any, dtype: torch.dtype = torch.float32, self_loops: bool = False
) -> Tensor:
    """D^-1/2 A D^-1/2 of the bipartite graph, rows of degree 0 left empty.

    Args:
        train: scipy sparse U x I, non-zero = interaction.
        dtype: of the values.
        self_loops: A + I in place of A.

    Returns:
        Sparse COO [N, N], coalesced: entries by row, then by column.
    """
    interactions: Any = sp.csr_matrix(train != 0, dtype=np.float64)
    adjacency: Any = sp.bmat([[None, interactions], [interactions.T, None]], format="csr")
    if self_loops:
        adjacency = (adjacency + sp.identity(adjacency.shape[0])).tocsr()
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
        drawn = torch.rand(values.shape[0], device=values.device)
        mask = (drawn + keep_rate).floor().type(torch.bool)
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


class Backbone(nn.Module):
    """An eager model: tables from ego embeddings, losses from tables.

    Its keywords are names of settings, as those of its counterpart in the package.

    Args:
        adjacency: from `normalized_adjacency`.
        num_users: U.
        num_items: I.
        dim: d.
        num_layers: L.
        reg_weight: weight of the squared L2 norm of all parameters.
    """

    self_loops: ClassVar[bool] = False
    """Whether the adjacency must have self-loops."""
    contrasts_negatives: ClassVar[bool] = True
    """Whether a contrastive alignment looks at the negatives, too."""

    def __init__(
        self,
        adjacency: Tensor,
        num_users: int,
        num_items: int,
        dim: int,
        num_layers: int,
        reg_weight: float,
    ) -> None:
        super().__init__()
        self.adjacency = adjacency
        self.sizes = [num_users, num_items]
        self.num_layers = num_layers
        self.reg_weight = reg_weight
        self.user_embedding = self.matrix(num_users, dim)
        self.item_embedding = self.matrix(num_items, dim)

    def matrix(self, rows: int, columns: int) -> nn.Parameter:
        """A new Xavier-uniform parameter."""
        table = torch.empty(rows, columns, dtype=self.adjacency.dtype)
        return nn.Parameter(nn.init.xavier_uniform_(table).to(self.adjacency.device))

    @property
    def final_dim(self) -> int:
        """Width of the final embeddings."""
        return self.user_embedding.shape[1]

    def ego(self) -> Tensor:
        """E_0, users first."""
        return torch.cat([self.user_embedding, self.item_embedding])

    def split(self, table: Tensor) -> Tables:
        """The users' and the items' part of a table of all nodes."""
        users, items = table.split(self.sizes)
        return users, items

    def views(self, ego: Tensor, drawn: Any = None) -> tuple[Tables, ...]:
        """The tables that a step's loss is made of, first those that rank.

        Args:
            ego: [N, d], users first.
            drawn: what to use in place of random numbers, if anything; its form is the model's.
        """
        raise NotImplementedError

    def terms(self, views: tuple[Tables, ...], batch: Batch) -> dict[str, Tensor]:
        """What a batch loses on the tables, already weighted and without L2; here BPR."""
        users, positives, negatives = batch
        user_table, item_table = views[0]
        anchors = user_table[users]
        positive_scores = (anchors * item_table[positives]).sum(dim=-1)
        negative_scores = (anchors * item_table[negatives]).sum(dim=-1)
        return {"rec_loss": F.softplus(negative_scores - positive_scores).sum() / len(users)}

    def loss(self, users: Tensor, positives: Tensor, negatives: Tensor, drawn: Any = None) -> Loss:
        """The loss of a batch and its terms, already weighted."""
        terms = self.terms(self.views(self.ego(), drawn), (users, positives, negatives))
        return total(self, self.reg_weight, terms)

    def counterparts(self) -> dict[str, list[nn.Parameter]]:
        """The package's parameters by name, each with those that it is made of here."""
        return {"embedding": [self.user_embedding, self.item_embedding]}


def total(model: nn.Module, reg_weight: float, terms: Mapping[str, Tensor]) -> Loss:
    """The sum of the terms and of L2 of all parameters; and all of them."""
    reg_loss = terms["rec_loss"].new_zeros(())
    for parameter in model.parameters():
        reg_loss = reg_loss + parameter.norm(2).square()
    everything = {**terms, "reg_loss": reg_weight * reg_loss}
    loss = everything["rec_loss"]
    for term in list(everything.values())[1:]:
        loss = loss + term
    return loss, everything


class LightGCN(Backbone):
    """LightGCN as RLMRec trains it: edge dropout, layers summed, BPR and L2 of all parameters.

    Args:
        adjacency: from `normalized_adjacency`.
        num_users: U.
        num_items: I.
        dim: d.
        num_layers: L.
        keep_rate: share of directed edges kept in training.
        reg_weight: weight of the squared L2 norm of all parameters.
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
        super().__init__(adjacency, num_users, num_items, dim, num_layers, reg_weight)
        self.keep_rate = keep_rate

    def views(self, ego: Tensor, drawn: Any = None) -> tuple[Tables, ...]:
        """The final tables; `drawn`: bool [nnz], the edges to keep."""
        adjacency = drop_edges(self.adjacency, self.keep_rate, drawn)
        return (self.split(propagate(adjacency, ego, self.num_layers)),)
