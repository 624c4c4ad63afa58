"""AutoCF: graphs cut in a Python loop over nodes, attention edge by edge, dense exponentials."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.reference.model import Backbone, Batch, Tables


class Draws(NamedTuple):
    """What stands in for random numbers when graphs are drawn.

    Attributes:
        noise: [N], added to the scores of nodes.
        nodes: (N, count) -> that many numbers below N.
        ends: (C, count) -> twice that many numbers below C: rows, then columns.
    """

    noise: Tensor
    nodes: Callable[[int, int], Tensor]
    ends: Callable[[int, int], tuple[Tensor, Tensor]]


class AutoCF(Backbone):
    """AutoCF as RLMRec trains it.

    Mirrors the public code: a search that goes from node to node and compares every edge with it,
    projections and products of single edges, matrices of exponentials without a maximum to
    subtract.

    Args:
        adjacency: from `normalized_adjacency`.
        num_users: U.
        num_items: I.
        dim: d.
        num_layers: propagations over the encoder graph.
        keep_rate: share of the nodes that are candidates for new edges though not masked.
        reg_weight: weight of the squared L2 norm of all parameters.
        transformer_layers: transformer layers over the decoder graph.
        num_heads: their heads.
        seed_num: number of seeds.
        mask_depth: levels of the search.
        fix_steps: steps that a pair of graphs is used for.
        ssl_reg: weight of the first two terms of `cl_loss`.
    """

    contrasts_negatives: ClassVar[bool] = False

    def __init__(
        self,
        adjacency: Tensor,
        num_users: int,
        num_items: int,
        dim: int = 32,
        num_layers: int = 2,
        keep_rate: float = 0.2,
        reg_weight: float = 1e-6,
        transformer_layers: int = 1,
        num_heads: int = 4,
        seed_num: int = 100,
        mask_depth: int = 2,
        fix_steps: int = 10,
        ssl_reg: float = 5.0,
    ) -> None:
        super().__init__(adjacency, num_users, num_items, dim, num_layers, reg_weight)
        self.keep_rate = keep_rate
        self.num_heads = num_heads
        self.seed_num, self.mask_depth = seed_num, mask_depth
        self.fix_steps, self.ssl_reg = fix_steps, ssl_reg
        self.matrices = nn.ParameterList(
            self.matrix(dim, dim) for _ in range(3 * transformer_layers)
        )
        indices = adjacency._indices()
        self.ones = ones_at(indices, len(adjacency), adjacency.dtype)
        self.degrees = torch.sparse.sum(self.ones, dim=-1).to_dense().view(-1, 1)
        self.steps = 0
        self.encoder = self.decoder = adjacency
        self.infomax: Tensor | None = None

    def views(self, ego: Tensor, drawn: Any = None) -> tuple[Tables, ...]:
        """The final tables; `drawn`: `Draws`. Every `fix_steps`-th call draws graphs."""
        self.infomax = None
        if self.steps % self.fix_steps == 0:
            self.redraw(drawn)
        self.steps += 1
        layers = [ego]
        for _ in range(self.num_layers):
            layers.append(torch.spmm(self.encoder, layers[-1]))
        for first in range(0, len(self.matrices), 3):
            layers.append(self.attend(layers[-1], *self.matrices[first : first + 3]))
        return (self.split(torch.stack(layers).sum(0)),)

    def attend(self, x: Tensor, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """A transformer layer: each edge gathers its ends and projects them."""
        rows, columns = self.decoder._indices()
        shape = (len(rows), self.num_heads, x.shape[1] // self.num_heads)
        heads, tails = x[rows], x[columns]
        queries, keys, values = (
            (ends @ matrix).view(shape)
            for ends, matrix in ((heads, query), (tails, key), (tails, value))
        )
        weights = torch.einsum("ehd,ehd->eh", queries, keys).clamp(-10.0, 10.0).exp()
        sums = x.new_zeros(len(x), self.num_heads).index_add_(0, rows, weights)[rows]
        messages = torch.einsum("eh,ehd->ehd", weights / (sums + 1e-8), values)
        return torch.zeros_like(x).index_add_(0, rows, messages.reshape(len(rows), -1))

    def redraw(self, drawn: Draws | None = None) -> None:
        """A new pair of graphs, by the embeddings without masks; and the loss of their scores."""
        if drawn is None:
            drawn = random_draws(len(self.adjacency), self.adjacency.device)
        scores = self.scores() + drawn.noise.to(self.adjacency.dtype)
        self.infomax = -scores.mean()
        seeds = torch.topk(scores, min(self.seed_num, len(scores))).indices
        self.encoder, self.decoder = self.draw_graphs(seeds, drawn)

    def scores(self) -> Tensor:
        """How like nodes are to their neighbourhood, logarithms of [N]."""
        ego, degrees = self.ego(), self.degrees
        first, first_count = torch.spmm(self.ones, ego) - ego, degrees
        second = torch.spmm(self.ones, first) - first - degrees * ego
        second_count = torch.spmm(self.ones, first_count) - first_count - degrees
        summary = (first + second) / (first_count + second_count + 1e-8)
        likeness = torch.sum(F.normalize(summary) * F.normalize(ego), dim=-1)
        return torch.log(torch.sigmoid(likeness))

    def draw_graphs(self, seeds: Tensor, drawn: Draws) -> tuple[Tensor, Tensor]:
        """Encoder, normalised, and decoder around seeds."""
        nodes, dtype = len(self.adjacency), self.adjacency.dtype
        (rows, columns), masked = self.search(seeds)
        masked.append(drawn.nodes(nodes, int(nodes * self.keep_rate)))
        candidates = torch.unique(torch.cat(masked))
        degrees = torch.sparse.sum(ones_at(torch.stack([rows, columns]), nodes, dtype), dim=-1)
        scale = torch.pow(degrees.to_dense() + 1e-12, -0.5)
        encoder = torch.sparse_coo_tensor(
            torch.stack([rows, columns]),
            scale[rows] * scale[columns],
            (nodes, nodes),
            check_invariants=False,
        )
        ends = drawn.ends(len(candidates), self.adjacency._nnz())
        first, second = (candidates[places] for places in ends)
        loops = torch.arange(nodes, device=rows.device)
        keys = torch.cat([first, second, loops, rows]) * nodes
        keys = torch.unique(keys + torch.cat([second, first, loops, columns]))
        new = torch.stack([torch.div(keys, nodes, rounding_mode="floor"), keys % nodes])
        return encoder, ones_at(new, nodes, dtype)

    def search(self, seeds: Tensor) -> tuple[Tables, list[Tensor]]:
        """The edges that are left, and the nodes of all levels."""
        rows, columns = self.adjacency._indices()
        levels = [seeds]
        for depth in range(self.mask_depth):
            removed = []
            for node in levels[-1].tolist():
                touched = torch.logical_or(rows == node, columns == node)
                if depth < self.mask_depth - 1:
                    removed += [rows[touched], columns[touched]]
                rows, columns = rows[~touched], columns[~touched]
            if removed:
                levels.append(torch.unique(torch.cat(removed)))
        return (rows, columns), levels

    def terms(self, views: tuple[Tables, ...], batch: Batch) -> dict[str, Tensor]:
        """See `Backbone.terms`; negatives play no part."""
        users, positives, _ = batch
        user_table, item_table = views[0]
        anchors, others = user_table[users], item_table[positives]
        apart = log_sum_exp(user_table[users.unique()], user_table)
        apart = apart + log_sum_exp(item_table[positives.unique()], item_table)
        terms = {
            "rec_loss": (-torch.sum(anchors * others, dim=-1)).mean(),
            "cl_loss": self.ssl_reg * apart + log_sum_exp(anchors, item_table),
        }
        return terms if self.infomax is None else {**terms, "infomax_loss": self.infomax}

    def counterparts(self) -> dict[str, list[nn.Parameter]]:
        """See `Backbone.counterparts`."""
        return {**super().counterparts(), "attention": list(self.matrices)}


def ones_at(indices: Tensor, nodes: int, dtype: torch.dtype) -> Tensor:
    """Sparse COO [N, N] of ones."""
    ones = torch.ones(indices.shape[1], dtype=dtype, device=indices.device)
    return torch.sparse_coo_tensor(indices, ones, (nodes, nodes), check_invariants=False)


def log_sum_exp(query: Tensor, candidates: Tensor) -> Tensor:
    """Mean over queries of log sum_c exp(q . c), all exponentials at once."""
    return torch.log(torch.exp(query @ candidates.T).sum(dim=-1)).mean()


def random_draws(nodes: int, device: torch.device) -> Draws:
    """Gumbel noise, and numbers from torch's generator."""

    def numbers(bound: int, count: int) -> Tensor:
        return torch.randint(bound, (count,), device=device)

    def pairs(bound: int, count: int) -> tuple[Tensor, Tensor]:
        return numbers(bound, count), numbers(bound, count)

    noise = -torch.log(-torch.log(torch.rand(nodes, device=device)))
    return Draws(noise, numbers, pairs)
