"""The operators in plain PyTorch, written from their formulas, to test and benchmark against.

Same names, arguments and results as in :mod:`rlmrec_fast.ops`; autograd differentiates them.
Written to be read, not to be fast: sparse COO products, the whole users x items matrix.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from rlmrec_fast.graph import InteractionGraph, WeightedGraph
from rlmrec_fast.ops.distinct import Distinct
from rlmrec_fast.ops.propagate import Combine
from rlmrec_fast.ops.random import (
    Seed,
    bounded,
    child_seed,
    child_seeds,
    hash_pairs,
    rate_threshold,
)
from rlmrec_fast.ops.rank import RankingMetrics
from rlmrec_fast.symmetric import SymmetricGraph


def propagate(
    x: Tensor,
    graph: InteractionGraph,
    num_layers: int,
    *,
    combine: Combine = "sum",
    keep_rate: float = 1.0,
    seed: Seed = 0,
    noise: float = 0.0,
    rows: Tensor | None = None,
) -> Tensor:
    """See `rlmrec_fast.ops.propagate`."""
    adjacency = normalized_adjacency(graph, edge_mask(graph, keep_rate, seed), x.dtype)
    layers = [x]
    for layer in range(1, num_layers + 1):
        embedding = (adjacency @ layers[-1].to(adjacency.dtype)).to(x.dtype)
        if noise > 0:
            n = uniform_noise(embedding.shape[0], embedding.shape[1], child_seed(int(seed), layer))
            direction = (n / n.norm(dim=1, keepdim=True)).to(x.dtype)
            embedding = embedding + noise * embedding.sign() * direction
        layers.append(embedding)
    if combine == "concat":
        result = torch.cat(layers, dim=1)
    elif combine == "last":
        result = layers[-1]
    else:
        result = cast(Tensor, sum(layers))
        if combine == "mean":
            result = result / len(layers)
    return result if rows is None else result[rows]


def edge_mask(graph: InteractionGraph, keep_rate: float, seed: Seed) -> Tensor:
    """See `rlmrec_fast.ops.edge_mask`."""
    hashes = hash_pairs(child_seed(int(seed), 0), edge_rows(graph), graph.columns)
    return hashes < (2**32 if keep_rate >= 1 else rate_threshold(keep_rate))


def edge_rows(graph: InteractionGraph | SymmetricGraph | WeightedGraph) -> Tensor:
    """The row of every entry, int64 [nnz]."""
    lengths = graph.offsets[1:] - graph.offsets[:-1]
    return torch.repeat_interleave(torch.arange(len(lengths), device=lengths.device), lengths)


def normalized_adjacency(graph: InteractionGraph, mask: Tensor, dtype: torch.dtype) -> Tensor:
    """D^-1/2 (adjacency) D^-1/2, the masked entries only: sparse COO [N, N], at least float32."""
    rows, columns = edge_rows(graph)[mask], graph.columns[mask].long()
    values = graph.inv_sqrt_degrees[rows] * graph.inv_sqrt_degrees[columns]
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    size = (graph.num_nodes, graph.num_nodes)
    return torch.sparse_coo_tensor(
        torch.stack([rows, columns]),
        values.to(wide),
        size,
        is_coalesced=True,
        check_invariants=False,
    )


def uniform_noise(rows: int, columns: int, seed: int) -> Tensor:
    """float64 [rows, columns], uniform in {0, 1, .., 2^24 - 1} / 2^24, a hash of seed and place."""
    bits = hash_pairs(seed, torch.arange(rows)[:, None], torch.arange(columns)[None, :])
    return (bits >> 8).double() / 2**24


def spmm(x: Tensor, graph: WeightedGraph, values: Tensor | None = None) -> Tensor:
    """See `rlmrec_fast.ops.spmm`."""
    values = graph.values if values is None else values
    gathered = x[graph.columns.long()] * values.to(x.dtype)[:, None]
    return x.new_zeros(graph.num_rows, x.shape[1]).index_add(0, edge_rows(graph), gathered)


def edge_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    graph: InteractionGraph | SymmetricGraph,
    num_heads: int,
    *,
    clamp: float = 10.0,
    eps: float = 1e-8,
) -> Tensor:
    """See `rlmrec_fast.ops.edge_attention`."""
    rows, columns = edge_rows(graph), graph.columns.long()
    query, key, value = (x.view(len(x), num_heads, -1) for x in (query, key, value))
    products = (query[rows] * key[columns]).sum(2)
    # torch.clamp's own gradient at the bounds themselves is 1 up to torch 2.13 and 0 since.
    inside = products.abs() <= clamp
    scores = torch.where(inside, products, products.detach().clamp(-clamp, clamp)).exp()
    sums = scores.new_zeros(len(query), num_heads).index_add(0, rows, scores)
    weighted = scores[:, :, None] * value[columns]
    totals = torch.zeros_like(value).index_add(0, rows, weighted)
    return (totals / (sums + eps)[:, :, None]).flatten(1)


def adaptive_propagate(
    message: Tensor, x: Tensor, graph: InteractionGraph | SymmetricGraph
) -> Tensor:
    """See `rlmrec_fast.ops.adaptive_propagate`."""
    rows, columns = edge_rows(graph), graph.columns.long()
    unit = F.normalize(message)
    weights = ((unit[rows] * unit[columns]).sum(1) + 1) / 2
    sums = weights.new_zeros(len(x)).index_add(0, rows, weights)
    # Guarded on both sides of the division, as autograd looks at both.
    inverse = torch.where(sums == 0, 0, torch.where(sums == 0, 1, sums).reciprocal())
    return torch.zeros_like(x).index_add(0, rows, (weights * inverse[rows])[:, None] * x[columns])


def draw_seeds(
    x: Tensor, graph: InteractionGraph, num_seeds: int, seed: Seed
) -> tuple[Tensor, Tensor]:
    """See `rlmrec_fast.ops.draw_seeds`."""
    rows, columns = edge_rows(graph), graph.columns.long()

    def neighbours(table: Tensor) -> Tensor:
        return torch.zeros_like(table).index_add(0, rows, table[columns])

    degrees = graph.degrees[:, None].to(x.dtype)
    first, first_count = neighbours(x) - x, degrees
    second = neighbours(first) - first - degrees * x
    second_count = neighbours(first_count) - first_count - degrees
    summary = (first + second) / (first_count + second_count + 1e-8)
    cosine = (F.normalize(summary) * F.normalize(x)).sum(1)
    scores = cosine.sigmoid().log() + gumbel_noise(len(x), seed).to(x.dtype)
    order = scores.detach().sort(descending=True, stable=True).indices
    return order[:num_seeds], scores


def gumbel_noise(count: int, seed: Seed) -> Tensor:
    """float64 [count], a hash of seed and place."""
    words = child_seeds(child_seed(int(seed), 2), torch.arange(count))
    uniform = (((words >> 12) & (2**52 - 1)).double() + 0.5) / 2**52
    return -(-uniform.log()).log()


def draw_subgraphs(
    graph: InteractionGraph,
    seeds: Tensor,
    mask_depth: int,
    keep_rate: float,
    seed: Seed,
    padded: bool = False,
) -> tuple[InteractionGraph, SymmetricGraph]:
    """See `rlmrec_fast.ops.draw_subgraphs`; these graphs are never padded."""
    nodes, rows, columns = graph.num_nodes, edge_rows(graph), graph.columns.long()
    left = torch.ones(len(rows), dtype=torch.bool)
    level = torch.zeros(nodes, dtype=torch.bool).index_fill(0, seeds.long(), True)
    masked = level
    for depth in range(mask_depth):
        masked = masked | level
        removed = left & (level[rows] | level[columns])
        if depth > 0 and not removed.any():
            break
        left = left & ~removed
        level = torch.zeros(nodes, dtype=torch.bool).index_fill(0, rows[removed], True)
    users = left & (rows < graph.num_users)
    encoder = InteractionGraph.from_pairs(
        rows[users], columns[users] - graph.num_users, graph.num_users, graph.num_items
    )

    draws = child_seeds(child_seed(int(seed), 0), torch.arange(int(nodes * keep_rate)))
    candidates = torch.cat([masked.nonzero()[:, 0], bounded(draws, nodes)]).unique()
    words = child_seeds(child_seed(int(seed), 1), torch.arange(2 * len(rows)))
    ends = candidates[bounded(words, len(candidates))] if len(candidates) else words[:0]
    first, second = ends.view(-1, 2).T
    loops = torch.arange(nodes)
    keys = [first * nodes + second, second * nodes + first, loops * nodes + loops]
    keys = torch.cat([*keys, (rows * nodes + columns)[left]]).unique()
    offsets = torch.bincount(keys // nodes, minlength=nodes).cumsum(0)
    return encoder, SymmetricGraph.from_csr(F.pad(offsets, (1, 0)), keys % nodes)


def bpr_loss(
    user_embedding: Tensor,
    item_embedding: Tensor | None,
    users: Tensor,
    positives: Tensor,
    negatives: Tensor,
    reduction: str = "mean",
) -> Tensor:
    """See `rlmrec_fast.ops.bpr_loss`."""
    user = user_embedding[users]
    item_embedding = user_embedding if item_embedding is None else item_embedding
    positive = (user * item_embedding[positives]).sum(1)
    negative = (user * item_embedding[negatives]).sum(1)
    # softplus, which torch's own F.softplus only approximates above 20.
    losses = -F.logsigmoid(positive - negative)
    if reduction == "none":
        return losses
    return losses.mean() if reduction == "mean" else losses.sum()


def propagated_bpr_loss(
    x: Tensor,
    graph: InteractionGraph,
    num_layers: int,
    users: Tensor,
    positives: Tensor,
    negatives: Tensor,
    *,
    combine: Combine = "sum",
    keep_rate: float = 1.0,
    seed: Seed = 0,
) -> Tensor:
    """See `rlmrec_fast.ops.propagated_bpr_loss`."""
    table = propagate(x, graph, num_layers, combine=combine, keep_rate=keep_rate, seed=seed)
    return bpr_loss(table, None, users, positives, negatives)


def distinct(ids: Tensor, size: int, padded: bool = False) -> Distinct:
    """As :func:`rlmrec_fast.ops.distinct`."""
    rows, places, counts = ids.unique(return_inverse=True, return_counts=True)
    more = min(len(ids), size) - len(rows) if padded else 0
    rows = torch.cat([rows, rows[-1:].expand(more)])
    return Distinct(rows, places, F.pad(counts, (0, more)))


def gather(table: Tensor, rows: Tensor) -> Tensor:
    """See `rlmrec_fast.ops.gather`."""
    return table[rows]


def sample_negatives(graph: InteractionGraph, seed: Seed) -> Tensor:
    """See `rlmrec_fast.ops.sample_negatives`."""
    offsets, items = graph.user_items
    negatives = []
    for user in range(graph.num_users):
        begin, end = int(offsets[user]), int(offsets[user + 1])
        own = set(items[begin:end].tolist())
        missing = [item for item in range(graph.num_items) if item not in own]
        for interaction in range(begin, end):
            random = child_seed(int(seed), interaction)
            negatives.append(missing[(random * len(missing)) >> 64])
    return torch.tensor(negatives, dtype=torch.int64)


def rank(
    user_embedding: Tensor,
    item_embedding: Tensor,
    k: int,
    exclude: tuple[Tensor, Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """See `rlmrec_fast.ops.rank`."""
    scores = user_embedding @ item_embedding.T
    scores = scores.masked_fill(scores.isnan(), -torch.inf)
    if exclude is not None:
        lengths = exclude[0][1:] - exclude[0][:-1]
        users = torch.repeat_interleave(torch.arange(len(lengths)), lengths)
        scores[users, exclude[1].long()] = -torch.inf
    return _highest(scores, k)


def _highest(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    best, items = scores.sort(dim=1, descending=True, stable=True)
    missing = k - scores.shape[1]
    if missing > 0:
        best = F.pad(best, (0, missing), value=-torch.inf)
        items = F.pad(items, (0, missing), value=-1)
    best, items = best[:, :k], items[:, :k]
    return items.masked_fill(best == -torch.inf, -1), best


def ranking_metrics(
    items: Tensor, held_out: tuple[Tensor, Tensor], cutoffs: Sequence[int] = (5, 10, 20)
) -> RankingMetrics:
    """See `rlmrec_fast.ops.ranking_metrics`."""
    offsets, held_items = held_out
    gains = 1 / torch.arange(2, items.shape[1] + 2, dtype=torch.float64).log2()
    recalls, ndcgs = [], []
    for row, ranked in enumerate(items):
        held = held_items[offsets[row] : offsets[row + 1]]
        if len(held) == 0:
            continue
        hits = torch.isin(ranked, held.long()).double()
        recalls.append([hits[:k].sum() / len(held) for k in cutoffs])
        ideal = [gains[: min(k, len(held))].sum() for k in cutoffs]
        ndcgs.append(
            [(hits * gains)[:k].sum() / best for k, best in zip(cutoffs, ideal, strict=True)]
        )
    shape = (len(recalls), len(cutoffs))
    return RankingMetrics(
        torch.tensor(recalls, dtype=torch.float64).view(shape).mean(0),
        torch.tensor(ndcgs, dtype=torch.float64).view(shape).mean(0),
    )


def neighbors(table: Tensor, k: int) -> Tensor:
    """See `rlmrec_fast.ops.neighbors`."""
    size = table.abs().amax(dim=1, keepdim=True)
    scaled = (table / torch.where(size > 0, size, 1)).double()
    length = scaled.norm(dim=1, keepdim=True)
    direction = (scaled / torch.where(length > 0, length, 1)).to(table.dtype).double()
    # Row by row, so that equal rows have equal similarities to the last bit.
    similarity = torch.stack([(direction * row).sum(dim=1) for row in direction])
    return _highest(similarity.fill_diagonal_(-torch.inf), k)[0]


def neighbor_overlap(first: Tensor, second: Tensor) -> Tensor:
    """See `rlmrec_fast.ops.neighbor_overlap`."""
    rows = []
    for a, b in zip(first.tolist(), second.tolist(), strict=True):
        one, other = set(a) - {-1}, set(b) - {-1}
        rows.append(len(one & other) / len(one | other) if one | other else 1.0)
    return torch.tensor(rows, dtype=torch.float64)


def squared_norm(x: Tensor) -> Tensor:
    """See `rlmrec_fast.ops.squared_norm`."""
    return x.pow(2).sum()


def info_nce(
    query: Tensor,
    positive: Tensor,
    candidates: Tensor,
    temperature: float,
    *,
    query_weight: Tensor | None = None,
    candidate_weight: Tensor | None = None,
    reduction: str = "sum",
    eps: float = 1e-8,
) -> Tensor:
    """See `rlmrec_fast.ops.info_nce`."""
    query, positive, candidates = (
        x / (eps + x.square().sum(1, keepdim=True)).sqrt() for x in (query, positive, candidates)
    )
    logits = query @ candidates.T / temperature
    own = (query * positive).sum(1) / temperature
    losses = _weighted_logsumexp(logits, candidate_weight) - own
    return _reduce(losses, query_weight, reduction)


def info_nce_by_id(
    query_table: Tensor,
    candidate_table: Tensor,
    ids: Tensor,
    temperature: float,
    candidates: str = "all",
    *,
    reduction: str = "sum",
    eps: float = 1e-8,
) -> Tensor:
    """See `rlmrec_fast.ops.info_nce_by_id`."""
    positive = candidate_table[ids]
    others = candidate_table if candidates == "all" else positive
    return info_nce(query_table[ids], positive, others, temperature, reduction=reduction, eps=eps)


def symmetric_info_nce(
    x: Tensor, y: Tensor, temperature: float, *, reduction: str = "mean", eps: float = 1e-8
) -> Tensor:
    """See `rlmrec_fast.ops.symmetric_info_nce`."""
    forth, back = (
        info_nce(a, b, b, temperature, reduction=reduction, eps=eps) for a, b in ((x, y), (y, x))
    )
    return (forth + back) / 2


def lse_matmul(
    query: Tensor,
    candidates: Tensor,
    weights: Tensor | None = None,
    reduction: str = "mean",
    *,
    query_weight: Tensor | None = None,
) -> Tensor:
    """See `rlmrec_fast.ops.lse_matmul`."""
    losses = _weighted_logsumexp(query @ candidates.T, weights)
    return _reduce(losses, query_weight, reduction)


def reconstruction_loss(
    x: Tensor, y: Tensor, temperature: float, reduction: str = "mean", delta: float = 1e-8
) -> Tensor:
    """See `rlmrec_fast.ops.reconstruction_loss`."""
    x, y = F.normalize(x), F.normalize(y)
    own = (x * y).sum(1).div(temperature).exp()
    everything = (x @ y.T).div(temperature).exp().sum(1)
    return _reduce(-torch.log(own / (everything + delta) + delta), None, reduction)


def project(
    vectors: Tensor,
    weight1: Tensor,
    bias1: Tensor,
    weight2: Tensor,
    bias2: Tensor,
    rows: Tensor | None = None,
    *,
    slope: float = 0.01,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """See `rlmrec_fast.ops.project`."""
    result = weight1.dtype
    vectors, weight1, bias1, weight2, bias2 = (
        x.to(dtype or result) for x in (vectors, weight1, bias1, weight2, bias2)
    )
    hidden = F.leaky_relu(vectors @ weight1.T + bias1, slope)
    projected = (hidden @ weight2.T + bias2).to(result)
    return projected if rows is None else projected[rows]


def _weighted_logsumexp(logits: Tensor, weights: Tensor | None) -> Tensor:
    return (logits if weights is None else logits + weights.to(logits.dtype).log()).logsumexp(1)


def _reduce(losses: Tensor, weights: Tensor | None, reduction: str) -> Tensor:
    """The weighted losses, their sum, or that over their number."""
    losses = losses if weights is None else losses * weights
    if reduction == "none":
        return losses
    return losses.sum() if reduction == "sum" else losses.sum() / len(losses)
