"""edge_attention and adaptive_propagate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import pytest
import torch
from graphs import NAMES, make_graph, make_symmetric_graph
from helpers import assert_error_budget, same_bits
from torch import Tensor

from rlmrec_fast import ops
from rlmrec_fast.graph import InteractionGraph
from rlmrec_fast.ops import reference
from rlmrec_fast.symmetric import SymmetricGraph

Graph = InteractionGraph | SymmetricGraph
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
# Columns and heads: whole vectors, parts of some, as many heads as columns, more than lanes.
SHAPES = [(32, 4), (16, 4), (12, 3), (64, 4), (20, 1), (32, 1), (64, 2), (7, 7), (40, 20), (100, 5)]
WIDTHS = [2, 5, 16, 31, 32, 64, 100]


def attention(module, num_heads: int, **settings) -> Callable[..., Tensor]:
    return partial(module.edge_attention, num_heads=num_heads, **settings)


def results(operator, tables: Sequence[Tensor], graph: Graph, upstream: Tensor, dtype) -> list:
    """The result and the gradients of all tables, in a type."""
    leaves = [table.detach().to(dtype).requires_grad_() for table in tables]
    y = operator(*leaves, graph=graph)
    return [y, *torch.autograd.grad(y, leaves, upstream.to(dtype))]


def assert_in_budget(ours, twin, tables, graph: Graph, head_width: int, steps: int = 8) -> None:
    """Result and gradients err no more than the reference, but for a few roundings of the terms."""
    dtype = tables[0].dtype
    upstream = torch.randn(tables[0].shape, dtype=torch.float64)
    cases = ((ours, dtype), (twin, dtype), (twin, torch.float64))
    found = [results(operator, tables, graph, upstream, kind) for operator, kind in cases]
    degree = int(graph.offsets.diff().max()) if len(graph.columns) else 0
    terms = (head_width * degree) ** 0.5
    for mine, reference_value, truth in zip(*found, strict=True):
        largest = float(truth.detach().abs().max()) if truth.numel() else 0.0
        tolerance = steps * torch.finfo(dtype).eps * (largest + terms) + torch.finfo(dtype).tiny
        assert_error_budget(mine, reference_value, truth, tolerance)


@DTYPES
@pytest.mark.parametrize(("d", "heads"), SHAPES)
@pytest.mark.parametrize("clamp", [1.5, 10.0])
def test_attention_stays_in_the_error_budget_of_the_reference(d, heads, clamp, dtype):
    graph = make_symmetric_graph()
    scale = (d // heads) ** -0.25
    tables = [scale * torch.randn(graph.num_nodes, d, dtype=dtype) for _ in range(3)]
    pair = (attention(module, heads, clamp=clamp) for module in (ops, reference))
    assert_in_budget(*pair, tables, graph, d // heads)


@DTYPES
@pytest.mark.parametrize("d", WIDTHS)
def test_adaptive_propagation_stays_in_the_error_budget_of_the_reference(d, dtype):
    graph = make_symmetric_graph()
    tables = [torch.randn(graph.num_nodes, d, dtype=dtype) for _ in range(2)]
    pair = (ops.adaptive_propagate, reference.adaptive_propagate)
    assert_in_budget(*pair, tables, graph, d)


@DTYPES
@pytest.mark.parametrize("name", NAMES)
def test_graphs_of_every_shape_stay_in_the_error_budget(name, dtype):
    graph = make_graph(name)
    tables = [torch.randn(graph.num_nodes, 8, dtype=dtype) for _ in range(3)]
    pair = (attention(module, 4) for module in (ops, reference))
    assert_in_budget(*pair, tables, graph, 2, steps=50)
    pair = (ops.adaptive_propagate, reference.adaptive_propagate)
    assert_in_budget(*pair, tables[:2], graph, 8, steps=50)


@DTYPES
@pytest.mark.parametrize("hub", [4000, 8200, 13_000])
def test_long_rows_stay_in_the_error_budget(hub, dtype):
    graph = make_symmetric_graph(14_000, 5000, hub)
    tables = [torch.randn(graph.num_nodes, 8, dtype=dtype) for _ in range(3)]
    pair = (attention(module, 4) for module in (ops, reference))
    assert_in_budget(*pair, tables, graph, 2, steps=50)
    pair = (ops.adaptive_propagate, reference.adaptive_propagate)
    assert_in_budget(*pair, tables[:2], graph, 8, steps=50)


def both(graph: Graph, d: int = 6, dtype=torch.float64) -> list[tuple[Callable, list[Tensor]]]:
    """Both operators with tables of their own."""
    tables = [torch.randn(graph.num_nodes, d, dtype=dtype, requires_grad=True) for _ in range(5)]
    attend = partial(ops.edge_attention, graph=graph, num_heads=2, clamp=1.5)
    return [(attend, tables[:3]), (partial(ops.adaptive_propagate, graph=graph), tables[3:])]


def test_derivatives_are_those_of_finite_differences():
    for operator, tables in both(make_symmetric_graph(9, 12)):
        assert torch.autograd.gradcheck(operator, tables)


def test_differentiating_twice_is_refused_rather_than_wrong():
    names = ("edge_attention", "adaptive_propagate")
    for name, (operator, tables) in zip(names, both(make_symmetric_graph(9, 12)), strict=True):
        grads = torch.autograd.grad(operator(*tables).square().sum(), tables, create_graph=True)
        with pytest.raises(RuntimeError, match=rf"^{name}: must be differentiated once only"):
            torch.autograd.grad(grads[0].sum(), tables)


def test_only_the_gradients_asked_for_are_computed():
    for operator, tables in both(make_symmetric_graph()):
        y = operator(*tables)
        upstream = torch.randn_like(y)
        everything = torch.autograd.grad(y, tables, upstream)
        for chosen in range(1, 2 ** len(tables) - 1):
            leaves = [
                table.detach().requires_grad_(bool(chosen >> i & 1))
                for i, table in enumerate(tables)
            ]
            operator(*leaves).backward(upstream)
            for leaf, grad in zip(leaves, everything, strict=True):
                assert leaf.grad is None if not leaf.requires_grad else same_bits(leaf.grad, grad)


def test_nothing_is_saved_by_edge():
    graph = make_symmetric_graph(50, 2000)
    for operator, tables in both(graph):
        saved = []
        with torch.autograd.graph.saved_tensors_hooks(saved.append, lambda x: x):
            operator(*tables)
        kept = {t.data_ptr() for t in (*tables, graph.offsets, graph.columns, graph.partition)}
        others = [t.numel() for t in saved if t.data_ptr() not in kept]
        assert others
        assert max(others) <= tables[0].numel() < len(graph.columns)


@pytest.mark.parametrize("clamp", [9.0, 10.0, 11.0])
def test_the_clamp_passes_gradients_up_to_its_bound_and_none_beyond(clamp):
    graph = InteractionGraph.from_pairs([0], [0], 1, 1, self_loops=True)
    tables = [torch.tensor(x)[:, None] for x in ([2.0, -1.0], [5.0, 3.0], [1.0, 2.0])]
    ours, twin = (
        results(attention(module, 1, clamp=clamp), tables, graph, torch.ones(2, 1), torch.float64)
        for module in (ops, reference)
    )
    for mine, theirs in zip(ours, twin, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-14)


def test_infinite_and_missing_values_reach_neighbours_alone():
    graph = make_symmetric_graph()
    for bad in (torch.inf, torch.nan):
        for operator, tables in both(graph):
            with torch.no_grad():
                tables[-1][5] = bad
                y = operator(*tables)
            meets = torch.zeros(graph.num_nodes, dtype=torch.bool)
            meets[graph.columns[graph.offsets[5] : graph.offsets[6]].long()] = True
            assert torch.equal(~y.isfinite().all(1), meets)


@pytest.mark.parametrize("name", ["edge_attention", "adaptive_propagate"])
def test_rows_without_entries_are_zeros_and_pass_no_gradient(name):
    graph = make_symmetric_graph()
    count = 3 if name == "edge_attention" else 2
    tables = [torch.randn(graph.num_nodes, 8, requires_grad=True) for _ in range(count)]
    settings = {"num_heads": 2, "eps": 0.0} if count == 3 else {}
    y = getattr(ops, name)(*tables, graph=graph, **settings)
    assert not y[0].any()
    assert y.isfinite().all()
    for grad in torch.autograd.grad(y, tables, torch.randn_like(y)):
        assert grad.isfinite().all()
        assert not grad[0].any()


def test_messages_of_zero_and_opposite_messages_are_weighted_by_the_formula():
    graph = SymmetricGraph.from_csr([0, 2, 3, 4], [1, 2, 0, 0])
    x = torch.tensor([[1.0], [2.0], [4.0]])
    zero = torch.tensor([[1.0, 0], [0, 0], [2, 0]])  # weights 1/2 and 1 for node 0
    x = x.expand(3, 2)
    y = ops.adaptive_propagate(zero, x, graph)
    torch.testing.assert_close(y[:, 0], torch.tensor([(0.5 * 2 + 4) / 1.5, 1.0, 1.0]))
    opposite = torch.tensor([[1.0, 0], [-1, 0], [-3, 0]], requires_grad=True)
    y = ops.adaptive_propagate(opposite, x, graph)
    assert torch.equal(y, torch.zeros(3, 2))
    y.sum().backward()
    assert torch.equal(opposite.grad, torch.zeros(3, 2))


def test_both_kinds_of_graph_give_the_same_bits():
    graph = make_graph("loops")
    same = SymmetricGraph.from_csr(graph.offsets, graph.columns)
    tables = [torch.randn(graph.num_nodes, 8) for _ in range(3)]
    assert same_bits(
        ops.edge_attention(*tables, graph, 4),
        ops.edge_attention(*tables, same, 4),
    )
    assert same_bits(
        ops.adaptive_propagate(*tables[:2], graph), ops.adaptive_propagate(*tables[:2], same)
    )


def test_strides_do_not_matter():
    graph = make_symmetric_graph()
    table = torch.randn(80, 13)
    upstream = torch.randn(6, 40).T
    for strided in (table[::2, 1:7], table[:40, ::2][:, :6], torch.randn(6, 40).T):
        for operator, tables in both(graph, dtype=torch.float32):
            pairs = []
            for x in (strided, strided.contiguous()):
                leaves = [x.detach().requires_grad_(), *tables[1:]]
                y = operator(*leaves)
                grad = upstream if x is strided else upstream.contiguous()
                pairs.append([y, *torch.autograd.grad(y, leaves, grad)])
            assert all(same_bits(a, b) for a, b in zip(*pairs, strict=True))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_16_bit_tables_are_read_as_float32(dtype):
    graph = make_symmetric_graph()
    for operator, tables in both(graph):
        small = [table.detach().to(dtype).requires_grad_() for table in tables]
        y = operator(*small)
        assert same_bits(y, operator(*(table.float() for table in small)))
        y.sum().backward()
        assert all(table.grad.dtype == dtype for table in small)


@pytest.mark.parametrize("d", [0, 4])
def test_tables_without_rows_or_columns_pass(d):
    for graph in (SymmetricGraph.from_csr([0], []), make_symmetric_graph()):
        tables = [torch.randn(graph.num_nodes, d, requires_grad=True) for _ in range(3)]
        if graph.num_nodes and d:
            continue
        for y in (
            ops.edge_attention(*tables, graph, 2),
            ops.adaptive_propagate(*tables[1:], graph),
        ):
            assert y.shape == tables[0].shape
            y.sum().backward()
        assert all(table.grad.shape == table.shape for table in tables)
