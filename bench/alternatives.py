"""What a careful user of PyTorch or numpy would write: the honest competitors."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from bench.harness import Call, UnavailableError
from rlmrec_fast.graph import InteractionGraph
from rlmrec_fast.training.evaluation import Evaluator, Rows

warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")


def edge_values(graph: InteractionGraph, dtype: torch.dtype = torch.float32) -> Tensor:
    """The normalised adjacency's values, in the order of `graph.columns`."""
    scale = graph.inv_sqrt_degrees
    return (scale[edge_rows(graph)] * scale[graph.columns.long()]).to(dtype)


def edge_rows(graph: InteractionGraph) -> Tensor:
    """The row of every entry, int64 [nnz]."""
    return torch.arange(graph.num_nodes, device=graph.device).repeat_interleave(graph.degrees)


def coo_adjacency(graph: InteractionGraph, dtype: torch.dtype = torch.float32) -> Tensor:
    """The normalised adjacency, sparse COO."""
    indices = torch.stack([edge_rows(graph), graph.columns.long()])
    size = (graph.num_nodes, graph.num_nodes)
    return torch.sparse_coo_tensor(
        indices, edge_values(graph, dtype), size, is_coalesced=True, check_invariants=False
    )


def csr_matrix(offsets: Tensor, columns: Tensor, values: Tensor) -> Tensor:
    """A square sparse CSR tensor; with int32 indices MKL takes it without a conversion."""
    size = (len(offsets) - 1, len(offsets) - 1)
    return torch.sparse_csr_tensor(offsets, columns, values, size, check_invariants=False)


class _Product(torch.autograd.Function):
    """A CSR matrix times a table, given the matrix's transpose for the way back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, matrix: Tensor, transposed: Tensor) -> Tensor:
        ctx.save_for_backward(transposed)
        return matrix @ x

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (transposed,) = ctx.saved_tensors
        return transposed @ grad, None, None


class CsrPropagation:
    """Propagation with edge dropout on torch's CSR matrices.

    Args:
        graph: the graph.
        compact: whether dropped entries are removed, or stay as zeros (less work per step, more
            work per layer).
    """

    def __init__(self, graph: InteractionGraph, compact: bool) -> None:
        self.compact = compact
        self.offsets, self.columns = graph.offsets.int(), graph.columns
        self.values, self.reverse = edge_values(graph), graph.reverse

    def __call__(self, x: Tensor, num_layers: int, keep_rate: float) -> Tensor:
        """The sum of the layers."""
        keep = torch.rand(len(self.columns), device=x.device) < keep_rate
        matrix, transposed = self._masked(keep), self._masked(keep[self.reverse])
        total = x
        for _ in range(num_layers):
            x = _Product.apply(x, matrix, transposed)
            total = total + x
        return total

    def _masked(self, keep: Tensor) -> Tensor:
        if not self.compact:
            return csr_matrix(self.offsets, self.columns, self.values * keep)
        kept_before = F.pad(keep.cumsum(0, dtype=torch.int32), (1, 0))
        offsets = kept_before[self.offsets]
        return csr_matrix(offsets, self.columns[keep], self.values[keep])


def gather_scatter(graph: InteractionGraph) -> Any:
    """A @ x as gather, multiply, index_add: what torch.compile can be given."""
    rows, columns, values = edge_rows(graph), graph.columns.long(), edge_values(graph)[:, None]

    def product(x: Tensor) -> Tensor:
        return torch.zeros_like(x).index_add(0, rows, x[columns] * values)

    return product


def compiled(function: Any, *example: Any) -> Any:
    """torch.compile of a function, compiled now and for the example's sizes alone.

    Raises:
        UnavailableError: it cannot be compiled here.
    """
    result = torch.compile(function, dynamic=False)
    try:
        result(*example)
    except Exception as error:  # Dynamo, inductor and the C++ compiler each have their own.
        raise UnavailableError(f"torch.compile: {str(error).splitlines()[0]:.200}") from error
    return result


def supported(call: Call) -> Call:
    """A call that torch may have no kernel for, made once to see.

    Raises:
        UnavailableError: it has none.
    """
    try:
        call()
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise UnavailableError(f"torch: {str(error).splitlines()[0]:.200}") from error
    return call


def numpy_rejection(graph: InteractionGraph, seed: int = 1) -> Call:
    """Negatives for all interactions at once, redrawn where a sorted list of pairs has them."""
    users, items = (ids.numpy() for ids in graph.interactions())
    known = users * graph.num_items + items
    rng = np.random.default_rng(seed)

    def sample() -> Any:
        negatives = rng.integers(graph.num_items, size=len(users))
        open_ = np.arange(len(users))
        while len(open_):
            keys = users[open_] * graph.num_items + negatives[open_]
            place = np.searchsorted(known, keys).clip(max=len(known) - 1)
            open_ = open_[known[place] == keys]
            negatives[open_] = rng.integers(graph.num_items, size=len(open_))
        return torch.from_numpy(negatives)

    return sample


def torch_rejection(graph: InteractionGraph) -> Call:
    """The same with a dense users x items table of what is known: fast, and U * I bytes."""
    users, items = graph.interactions()
    size = graph.num_users * graph.num_items
    known = torch.zeros(size, dtype=torch.bool, device=graph.device)
    starts = users * graph.num_items
    known[starts + items] = True

    def sample() -> Tensor:
        negatives = torch.randint(graph.num_items, users.shape, device=graph.device)
        open_ = known[starts + negatives].nonzero().squeeze(1)
        while len(open_):
            negatives[open_] = torch.randint(graph.num_items, open_.shape, device=graph.device)
            open_ = open_[known[starts[open_] + negatives[open_]]]
        return negatives

    return sample


def torch_rank(
    users: Tensor, items: Tensor, k: int, exclude: Rows | None, batch: int = 1024
) -> tuple[Tensor, Tensor]:
    """Top-k by matrix product, -inf for what is excluded, and topk, a batch of users at a time."""
    best, found = [], []
    for begin in range(0, len(users), batch):
        scores = users[begin : begin + batch] @ items.T
        if exclude is not None:
            offsets = exclude[0][begin : begin + batch + 1]
            rows = torch.arange(len(scores), device=scores.device)
            rows = rows.repeat_interleave(offsets.diff())
            scores[rows, exclude[1][offsets[0] : offsets[-1]].long()] = -torch.inf
        top = scores.topk(k)
        best.append(top.values)
        found.append(top.indices)
    return torch.cat(found), torch.cat(best)


def torch_neighbors(table: Tensor, k: int, batch: int) -> Tensor:
    """Top-k by matrix product of unit rows and topk, a batch of rows at a time."""
    unit = F.normalize(table, dim=1)
    found = []
    for begin in range(0, len(table), batch):
        similarity = unit[begin : begin + batch] @ unit.T
        similarity.diagonal(begin).fill_(-torch.inf)
        found.append(similarity.topk(k).indices)
    return torch.cat(found) if len(found) > 1 else found[0]


def torch_overlap(first: Tensor, second: Tensor) -> Tensor:
    """Jaccard indices without a loop: what stands twice in the sorted rows of both is shared."""
    both = torch.cat([first, second], dim=1).sort(dim=1).values
    shared = (both[:, 1:] == both[:, :-1]).sum(dim=1)
    return shared.double() / (both.shape[1] - shared)


def torch_evaluation(evaluator: Evaluator, num_items: int) -> Any:
    """The evaluator's metrics without a Python loop over users."""
    offsets, held = evaluator.held_out
    sizes = offsets.diff()
    device = sizes.device
    rows = torch.arange(len(sizes), device=device).repeat_interleave(sizes)
    known = rows * num_items + held
    cutoffs: Sequence[int] = evaluator.cutoffs
    gains = 1 / torch.arange(2, max(cutoffs) + 2, dtype=torch.float64, device=device).log2()
    ideal = F.pad(gains.cumsum(0), (1, 0))

    @torch.no_grad()
    def evaluate(users: Tensor, items: Tensor) -> dict[str, float]:
        queries = users[evaluator.users]
        ranked, _ = torch_rank(queries, items, max(cutoffs), evaluator.exclude)
        keys = torch.arange(len(ranked), device=device)[:, None] * num_items + ranked
        place = torch.searchsorted(known, keys).clamp(max=len(known) - 1)
        hits = (known[place] == keys).double()
        metrics = {}
        for k in cutoffs:
            metrics[f"recall@{k}"] = (hits[:, :k].sum(1) / sizes).mean().item()
            dcg = (hits[:, :k] * gains[:k]).sum(1)
            metrics[f"ndcg@{k}"] = (dcg / ideal[sizes.clamp(max=k)]).mean().item()
        return metrics

    return evaluate


def torch_epoch(graph: InteractionGraph, dim: int, num_layers: int, batch_size: int) -> Call:
    """An epoch of LightGCN without Python loops over interactions and without COO."""
    users, positives = graph.interactions()
    sample = torch_rejection(graph)
    propagate = CsrPropagation(graph, compact=False)
    drawn = nn.init.xavier_uniform_(torch.empty(graph.num_nodes, dim))
    table = nn.Parameter(drawn.to(graph.device))
    optimizer = torch.optim.Adam([table], lr=1e-3, fused=True)
    sizes = [graph.num_users, graph.num_items]

    def epoch() -> float:
        order = torch.randperm(len(users), device=graph.device)
        columns = [ids[order].split(batch_size) for ids in (users, positives, sample())]
        total = torch.zeros((), device=graph.device)
        for batch in zip(*columns, strict=True):
            user_table, item_table = propagate(table, num_layers, 0.8).split(sizes)
            anchor, positive, negative = (
                t[ids] for t, ids in zip((user_table, item_table, item_table), batch, strict=True)
            )
            loss = F.softplus((anchor * (negative - positive)).sum(1)).mean()
            loss = loss + 1e-6 * table.square().sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach()
        return total.item() / len(columns[0])

    return epoch


def chunked_info_nce(
    query: Tensor, positive: Tensor, candidates: Tensor, temperature: float, block: int
) -> Tensor:
    """InfoNCE without the whole matrix: blocks of candidates, computed again on the way back."""
    query, positive, candidates = (
        x / (1e-8 + x.square().sum(1, keepdim=True)).sqrt() for x in (query, positive, candidates)
    )
    query = query / temperature

    def log_sum_exp(query: Tensor, some: Tensor) -> Tensor:
        return torch.logsumexp(query @ some.T, dim=1)

    parts = [
        checkpoint(log_sum_exp, query, some, use_reentrant=False)
        for some in candidates.split(block)
    ]
    return (torch.stack(parts).logsumexp(0) - (query * positive).sum(1)).sum()
