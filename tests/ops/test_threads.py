"""The number of threads never changes a bit, in any operator, forward or backward."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from graphs import make_graph, make_symmetric_graph, make_weighted_graph
from helpers import same_bits
from torch import Tensor

from rlmrec_fast.ops import (
    adaptive_propagate,
    bpr_loss,
    draw_seeds,
    draw_subgraphs,
    edge_attention,
    edge_mask,
    gather,
    info_nce,
    info_nce_by_id,
    lse_matmul,
    neighbor_overlap,
    neighbors,
    propagate,
    propagated_bpr_loss,
    rank,
    ranking_metrics,
    reconstruction_loss,
    sample_negatives,
    spmm,
    squared_norm,
)
from rlmrec_fast.ops.propagate import COMBINES
from rlmrec_fast.ops.reduce import stable_sum

PARTS = make_graph("parts")
NODES = PARTS.num_nodes


def assert_same_for_any_number_of_threads(work: Callable[[], list[Tensor]]) -> None:
    results = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        torch.manual_seed(7)
        results.append(work())
    assert results[0]
    for other in results[1:]:
        assert all(same_bits(a, b) for a, b in zip(results[0], other, strict=True))


def with_gradients(result: Tensor, *inputs: Tensor) -> list[Tensor]:
    upstream = torch.randn(result.shape).to(result.dtype)
    return [result, *torch.autograd.grad(result, inputs, upstream)]


def test_gather():
    def work() -> list[Tensor]:
        table = torch.randn(500, 33, requires_grad=True)
        return with_gradients(gather(table, torch.randint(500, (20_000,)) // 3), table)

    assert_same_for_any_number_of_threads(work)


@pytest.mark.parametrize("graph", [PARTS, make_symmetric_graph(9000, 20_000, 8500)])
def test_edge_weighted_operators(graph):
    def work() -> list[Tensor]:
        tables = [torch.randn(graph.num_nodes, 12).requires_grad_() for _ in range(3)]
        attended = edge_attention(*tables, graph, 4)
        adapted = adaptive_propagate(*tables[:2], graph)
        return [*with_gradients(attended, *tables), *with_gradients(adapted, *tables[:2])]

    assert_same_for_any_number_of_threads(work)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("combine", COMBINES)
def test_propagate(combine, dtype):
    def work() -> list[Tensor]:
        x = torch.randn(NODES, 19).to(dtype).requires_grad_()
        rows = torch.randint(NODES, (500,))
        settings = {"combine": combine, "keep_rate": 0.7, "seed": 3}
        return [
            *with_gradients(propagate(x, PARTS, 3, **settings), x),
            *with_gradients(propagate(x, PARTS, 2, **settings, noise=0.1, rows=rows), x),
        ]

    assert_same_for_any_number_of_threads(work)


@pytest.mark.parametrize("combine", COMBINES)
def test_propagated_bpr_loss(combine):
    def work() -> list[Tensor]:
        x = torch.randn(NODES, 19, requires_grad=True)
        ids = [torch.randint(NODES, (3000,)) for _ in range(3)]
        settings = {"combine": combine, "keep_rate": 0.7, "seed": 3}
        return with_gradients(propagated_bpr_loss(x, PARTS, 3, *ids, **settings), x)

    assert_same_for_any_number_of_threads(work)


def test_propagate_through_a_hub(star_graph):
    def work() -> list[Tensor]:
        x = torch.randn(star_graph.num_nodes, 5, requires_grad=True)
        return with_gradients(propagate(x, star_graph, 2, keep_rate=0.8, seed=1), x)

    assert_same_for_any_number_of_threads(work)


def test_edge_mask_and_sample_negatives():
    assert_same_for_any_number_of_threads(
        lambda: [edge_mask(PARTS, 0.5, 9), sample_negatives(PARTS, 9)]
    )


def test_spmm():
    graph = make_weighted_graph(3000, 400, hub=20_000)

    def work() -> list[Tensor]:
        x = torch.randn(400, 11, requires_grad=True)
        values = graph.values.float().requires_grad_()
        return with_gradients(spmm(x, graph, values), x, values)

    assert_same_for_any_number_of_threads(work)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("one_table", [False, True])
def test_bpr_loss(one_table, reduction):
    def work() -> list[Tensor]:
        tables = [torch.randn(300, 9, requires_grad=True) for _ in range(1 if one_table else 2)]
        ids = torch.randint(0, 300, (3, 20_000))
        ids[0, :5000] = 17
        items = None if one_table else tables[1]
        return with_gradients(bpr_loss(tables[0], items, *ids, reduction), *tables)

    assert_same_for_any_number_of_threads(work)


@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("candidates", [700, 30_000])
def test_contrastive_losses(candidates, reduction):
    def work() -> list[Tensor]:
        query, positive, table = (
            torch.randn(n, 9, requires_grad=True) for n in (200, 200, candidates)
        )
        weights = torch.rand(candidates)
        info = info_nce(query, positive, table, 0.2, reduction=reduction)
        low = info_nce(query, positive, table, 0.01, candidate_weight=weights, reduction=reduction)
        bfloat16 = info_nce(query, positive, table, 0.2, reduction=reduction, dtype=torch.bfloat16)
        return [
            *with_gradients(info, query, positive, table),
            *with_gradients(bfloat16, query, positive, table),
            *with_gradients(low, query, positive, table),
            *with_gradients(lse_matmul(query, table, weights, reduction), query, table),
            *with_gradients(reconstruction_loss(query, positive, 0.2, reduction), query, positive),
        ]

    assert_same_for_any_number_of_threads(work)


def test_info_nce_by_id():
    def work() -> list[Tensor]:
        tables = [torch.randn(300, 9, requires_grad=True) for _ in range(2)]
        ids = torch.randint(0, 300, (2_000,))
        return [
            x
            for candidates in ("all", "batch")
            for x in with_gradients(info_nce_by_id(*tables, ids, 0.2, candidates), *tables)
        ]

    assert_same_for_any_number_of_threads(work)


def test_seeds_and_subgraphs():
    def work() -> list[Tensor]:
        x = torch.randn(NODES, 9, requires_grad=True)
        seeds, scores = draw_seeds(x, PARTS, 40, 3)
        encoder, decoder = draw_subgraphs(PARTS, seeds, 2, 0.2, 3)
        return [seeds, *with_gradients(scores, x), encoder.columns, decoder.columns]

    assert_same_for_any_number_of_threads(work)


def test_rank_and_its_metrics():
    offsets, items = PARTS.user_items

    def work() -> list[Tensor]:
        users, table = torch.randn(3000, 8), torch.randn(500, 8)
        best, scores = rank(users, table, 20, (offsets, items))
        return [best, scores, *ranking_metrics(best, PARTS.user_items)]

    assert_same_for_any_number_of_threads(work)


def test_neighbors_and_their_overlap():
    def work() -> list[Tensor]:
        table = torch.randn(1000, 40)
        table[100:300] = table[0] + 1e-6 * table[100:300]
        near, far = neighbors(table, 20), neighbors(table[:, :10].double(), 20)
        return [near, far, neighbor_overlap(near, far)]

    assert_same_for_any_number_of_threads(work)


def test_sums():
    def work() -> list[Tensor]:
        x = torch.randn(300_001, requires_grad=True)
        return [*with_gradients(squared_norm(x), x), *with_gradients(stable_sum(x), x)]

    assert_same_for_any_number_of_threads(work)
