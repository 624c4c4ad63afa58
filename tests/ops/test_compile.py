"""Operators inside torch.compile and under autocast."""

from __future__ import annotations

import pytest
import torch
from graphs import make_graph, make_weighted_graph

from rlmrec_fast import ops


@pytest.fixture(autouse=True)
def _fresh_compiler():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def assert_compiles(function, *inputs, backend="aot_eager"):
    """The whole function becomes one graph with the same results and gradients."""
    leaves = [x for x in inputs if x.is_floating_point()]
    results = []
    for work in (function, torch.compile(function, fullgraph=True, backend=backend)):
        out = work(*inputs)
        upstream = torch.linspace(-1, 2, out.numel()).view(out.shape)
        results.append([out, *torch.autograd.grad(out, leaves, upstream)])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("combine", ["sum", "concat"])
def test_propagate_compiles(combine):
    graph = make_graph("random")
    x = torch.randn(graph.num_nodes, 7, requires_grad=True)
    rows = torch.tensor([3, 1, 3])

    def work(x, rows):
        settings = {"combine": combine, "keep_rate": 0.7, "seed": 3}
        return ops.propagate(x * 2, graph, 2, **settings, rows=rows).sin()

    assert_compiles(work, x, rows)


def test_propagated_bpr_loss_compiles():
    graph = make_graph("random")
    x = torch.randn(graph.num_nodes, 7, requires_grad=True)
    ids = [torch.randint(graph.num_nodes, (20,)) for _ in range(3)]
    assert_compiles(lambda x, *ids: ops.propagated_bpr_loss(x * 2, graph, 2, *ids), x, *ids)


def test_spmm_compiles():
    graph = make_weighted_graph()
    x = torch.randn(graph.num_columns, 5, requires_grad=True)
    values = torch.randn(len(graph.columns), requires_grad=True)
    assert_compiles(lambda x, values: ops.spmm(x, graph, values).cos(), x, values)


def test_edge_weighted_operators_compile():
    graph = make_graph("random")
    tables = [torch.randn(graph.num_nodes, 6, requires_grad=True) for _ in range(3)]

    def work(query, key, value):
        y = ops.edge_attention(query * 2, key, value, graph, 2)
        return ops.adaptive_propagate(y, value.sin(), graph)

    assert_compiles(work, *tables)


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_a_training_step_compiles(backend):
    graph = make_graph("random")
    x = torch.randn(graph.num_nodes, 8, requires_grad=True)
    users, items = graph.interactions()
    negatives = ops.sample_negatives(graph, 5)

    def work(x, users, items, negatives):
        table = ops.propagate(x, graph, 2, keep_rate=0.8, seed=1)
        first = graph.num_users
        rec = ops.bpr_loss(table, None, users, items + first, negatives + first)
        return rec + 1e-3 * ops.squared_norm(x)

    assert_compiles(work, x, users, items, negatives, backend=backend)


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_contrastive_losses_compile(backend):
    x, y = (torch.randn(20, 8, requires_grad=True) for _ in range(2))
    table = torch.randn(50, 8, requires_grad=True)

    def reduced(x, y, table, reduction):
        info = ops.info_nce(x * 2, y, table, 0.2, reduction=reduction)
        lse = ops.lse_matmul(x, table, reduction=reduction)
        return info + 0.1 * lse + ops.reconstruction_loss(x, y, 0.3, reduction).sin()

    def work(x, y, table):
        results = [reduced(x, y, table, reduction) for reduction in ("sum", "mean", "none")]
        return torch.cat([result.reshape(-1) for result in results])

    assert_compiles(work, x, y, table, backend=backend)


@pytest.mark.parametrize("candidates", ["all", "batch"])
def test_info_nce_by_id_compiles(candidates):
    x, y = (torch.randn(20, 8, requires_grad=True) for _ in range(2))
    ids = torch.tensor([3, 3, 19, 0, 3])
    assert_compiles(lambda x, y, ids: ops.info_nce_by_id(x, y, ids, 0.2, candidates), x, y, ids)


def test_ranking_compiles():
    graph = make_graph("random")
    users, items = torch.randn(40, 6), torch.randn(30, 6)

    def work(users, items):
        return ops.rank(users, items, 5, graph.user_items)[0]

    compiled = torch.compile(work, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(users, items), work(users, items))


def test_neighbors_compile():
    def work(table):
        near = ops.neighbors(table, 5)
        return near, ops.neighbor_overlap(near, ops.neighbors(table[:, :3], 5))

    table = torch.randn(40, 6)
    compiled = torch.compile(work, fullgraph=True, backend="aot_eager")(table)
    assert all(torch.equal(a, b) for a, b in zip(compiled, work(table), strict=True))


def test_seeds_compile():
    graph = make_graph("random")
    x = torch.randn(graph.num_nodes, 6, requires_grad=True)
    assert_compiles(lambda x: ops.draw_seeds(x, graph, 5, 3)[1].sin(), x)


@pytest.mark.parametrize("padded", [False, True])
def test_subgraphs_compile_where_sizes_may_depend_on_data_or_are_padded(padded):
    graph = make_graph("random")
    seeds, seed = torch.tensor([3, 40]), torch.tensor([9])

    def work(seeds):
        rows = (graph.offsets, graph.columns)
        return torch.ops.rlmrec_fast.draw_subgraphs(*rows, seeds, seed, 2, 0.3, padded)

    with torch._dynamo.config.patch(capture_dynamic_output_shape_ops=not padded):
        found = torch.compile(work, fullgraph=True, backend="aot_eager")(seeds)
    assert all(torch.equal(a, b) for a, b in zip(found, work(seeds), strict=True))


def test_a_new_seed_in_a_tensor_needs_no_new_trace():
    graph = make_graph("random")
    x = torch.randn(graph.num_nodes, 4)
    traces = []

    def backend(module, inputs):
        traces.append(module)
        return module

    @torch.compile(fullgraph=True, backend=backend)
    def work(x, seed):
        return ops.propagate(x, graph, 2, keep_rate=0.5, seed=seed)

    for seed in (1, 2, 3):
        found = work(x, torch.tensor([seed]))
        assert torch.equal(found, ops.propagate(x, graph, 2, keep_rate=0.5, seed=seed))
    assert len(traces) == 1


def test_other_sizes_of_a_batch_need_at_most_one_more_trace():
    table = torch.randn(50, 6)
    traces = []

    def backend(module, inputs):
        traces.append(module)
        return module

    compiled = torch.compile(
        lambda *ids: ops.bpr_loss(table, None, *ids), fullgraph=True, backend=backend
    )
    for size in (4, 9, 17, 33):
        ids = torch.randint(50, (3, size))
        torch.testing.assert_close(compiled(*ids), ops.bpr_loss(table, None, *ids))
    assert len(traces) <= 2


def test_losses_stay_in_float32_under_autocast():
    graph = make_graph("random")
    x = torch.randn(graph.num_nodes, 8, requires_grad=True)
    weight = torch.randn(8, 8, requires_grad=True)
    users, items = graph.interactions()
    first = graph.num_users
    with torch.autocast("cpu", torch.bfloat16):
        projected = x @ weight
        assert projected.dtype == torch.bfloat16
        table = ops.propagate(projected, graph, 2)
        loss = ops.bpr_loss(table, None, users, items + first, items.flip(0) + first)
        norm = ops.squared_norm(x)
        info = ops.info_nce(projected, x, x, 0.2)
    assert table.dtype == torch.bfloat16
    assert loss.dtype == norm.dtype == info.dtype == torch.float32
    (loss + norm + info).backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert weight.grad.abs().sum() > 0
