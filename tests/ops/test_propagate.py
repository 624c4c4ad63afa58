"""Values of propagate; gradients, dropout and noise have files of their own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from graphs import NAMES, make_graph
from helpers import assert_error_budget, epsilon, same_bits
from torch import Tensor

from rlmrec_fast.graph import InteractionGraph
from rlmrec_fast.ops import edge_mask, propagate, reference
from rlmrec_fast.ops.propagate import COMBINES

STORAGE = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
WIDTHS = (1, 3, 8, 16, 31, 32, 33, 64, 100, 128, 150)


def rounding_bound(x: Tensor, graph: InteractionGraph, num_layers: int, **settings: Any) -> Tensor:
    """What rounding to x's type in every layer may cost: proportional to the sum of magnitudes."""
    magnitude = reference.propagate(x.abs().double(), graph, num_layers, **settings)
    info = torch.finfo(x.dtype)
    # In float64 the truth is rounded too, and adds a row in one go.
    steps = max(2, int(graph.degrees.max())) if x.dtype == torch.float64 else 2
    return steps * (num_layers + 1) * (info.eps * magnitude + info.tiny * info.eps)


def check_values(x: Tensor, graph: InteractionGraph, num_layers: int, **settings: Any) -> None:
    assert_error_budget(
        propagate(x, graph, num_layers, **settings),
        reference.propagate(x, graph, num_layers, **settings),
        reference.propagate(x.double(), graph, num_layers, **settings),
        rounding_bound(x, graph, num_layers, **settings),
    )


@pytest.mark.parametrize("dtype", STORAGE)
@pytest.mark.parametrize("d", WIDTHS)
def test_every_width_stays_in_the_error_budget_of_the_reference(d, dtype, random_graph):
    x = torch.randn(random_graph.num_nodes, d).to(dtype)
    check_values(x, random_graph, 6, combine="concat", keep_rate=0.6, seed=7)
    check_values(x, random_graph, 3, combine="sum")
    check_values(x, random_graph, 2, combine="mean", keep_rate=0.6, seed=7)
    check_values(x, random_graph, 2, combine="last", rows=torch.tensor([3, 69, 3, 0]))


@pytest.mark.parametrize("dtype", STORAGE)
@pytest.mark.parametrize("combine", COMBINES)
def test_every_combination_stays_in_the_error_budget_of_the_reference(combine, dtype, random_graph):
    x = torch.randn(random_graph.num_nodes, 33).to(dtype)
    for num_layers in (0, 1, 2, 3, 6):
        check_values(x, random_graph, num_layers, combine=combine)
        rows = torch.tensor([3, 69, 3, 0])
        check_values(
            x, random_graph, num_layers, combine=combine, keep_rate=0.8, seed=2**62, rows=rows
        )


@pytest.mark.parametrize("name", [name for name in NAMES if name != "star"])
def test_graphs_of_every_shape_give_the_reference_values(name):
    graph = make_graph(name)
    for dtype in (torch.float32, torch.float64):
        x = torch.randn(graph.num_nodes, 3, dtype=dtype)
        for combine in COMBINES:
            check_values(x, graph, 2, combine=combine, keep_rate=0.7, seed=1)
        check_values(x, graph, 2, rows=torch.tensor([1, 0]))


@pytest.mark.parametrize("dtype", STORAGE)
def test_a_hub_of_a_hundred_thousand_neighbours_gives_the_reference_values(dtype, star_graph):
    x = torch.randn(star_graph.num_nodes, 3).to(dtype)
    check_values(x, star_graph, 2, keep_rate=0.7, seed=1)


def test_one_layer_is_the_product_with_the_normalised_adjacency(random_graph):
    graph = random_graph
    users, items = graph.interactions()
    dense = torch.zeros(graph.num_nodes, graph.num_nodes, dtype=torch.float64)
    dense[users, graph.num_users + items] = 1
    dense = dense + dense.T
    degrees = dense.sum(1)
    scale = torch.where(degrees > 0, degrees.rsqrt(), 0.0)
    adjacency = scale[:, None] * dense * scale
    x = torch.randn(graph.num_nodes, 5, dtype=torch.float64)
    torch.testing.assert_close(propagate(x, graph, 1, combine="last"), adjacency @ x)
    torch.testing.assert_close(propagate(x, graph, 1), x + adjacency @ x)
    two = torch.cat([x, adjacency @ x, adjacency @ adjacency @ x], dim=1)
    torch.testing.assert_close(propagate(x, graph, 2, combine="concat"), two)
    mean = two.unflatten(1, (3, 5)).mean(1)
    torch.testing.assert_close(propagate(x, graph, 2, combine="mean"), mean)


@pytest.mark.parametrize("name", ["random", "loops", "parts", "star"])
@pytest.mark.parametrize("keep_rate", [1.0, 0.5])
def test_needed_rows_have_the_bits_of_the_full_result(keep_rate, name):
    graph = make_graph(name)
    hubs = graph.degrees.topk(2).indices
    rows = torch.cat([torch.randint(graph.num_nodes, (90,)), hubs, hubs, torch.tensor([0, 0])])
    widths = {"random": (1, 8, 33, 150), "loops": (5,), "parts": (17,), "star": (4,)}[name]
    for dtype in (torch.bfloat16,) if name == "star" else STORAGE:
        for d in widths:
            x = torch.randn(graph.num_nodes, d).to(dtype)
            for combine in COMBINES:
                for num_layers, noise in ((0, 0.0), (1, 0.0), (3, 0.0), (2, 0.25)):
                    settings = {
                        "combine": combine,
                        "keep_rate": keep_rate,
                        "seed": 3,
                        "noise": noise,
                    }
                    full = propagate(x, graph, num_layers, **settings)
                    some = propagate(x, graph, num_layers, **settings, rows=rows)
                    assert same_bits(some, full[rows]), (dtype, d, combine, num_layers, noise)


@pytest.mark.parametrize("combine", COMBINES)
def test_no_rows_give_no_rows(combine, random_graph):
    x = torch.randn(70, 6, requires_grad=True)
    y = propagate(x, random_graph, 2, combine=combine, rows=torch.zeros(0, dtype=torch.int64))
    assert y.shape == (0, 18 if combine == "concat" else 6)
    y.sum().backward()
    assert torch.equal(x.grad, torch.zeros(70, 6))


def test_a_table_without_columns_gives_one_without_columns(random_graph):
    x = torch.zeros(70, 0, requires_grad=True)
    y = propagate(x, random_graph, 3, combine="concat")
    assert y.shape == (70, 0)
    y.sum().backward()
    assert x.grad.shape == (70, 0)


@pytest.mark.parametrize("dtype", STORAGE)
@pytest.mark.parametrize("combine", COMBINES)
def test_strides_of_x_do_not_matter(combine, dtype, random_graph):
    n, d = 70, 19
    wide = torch.randn(2 * n, 2 * d + 1).to(dtype)
    views = {
        "transposed": torch.randn(d, n).to(dtype).T,
        "rows apart": wide[::2, :d],
        "columns apart": wide[:n, ::2][:, :d],
        "unaligned": wide[:n, 3 : 3 + d],
        "one row for all": wide[:1, :d].expand(n, d),
        "one column for all": wide[:n, :1].expand(n, d),
        "one number for all": wide[0, 0].expand(n, d),
        "one column": wide[:n, 1:2],
    }
    for name, x in views.items():
        for num_layers in (0, 2):
            expected = propagate(x.contiguous(), random_graph, num_layers, combine=combine)
            assert same_bits(propagate(x, random_graph, num_layers, combine=combine), expected), (
                name
            )


def test_neither_x_nor_a_view_of_it_is_changed(random_graph):
    x = torch.randn(70, 33)
    before = x.clone()
    for combine in COMBINES:
        for num_layers in (0, 2):
            y = propagate(x, random_graph, num_layers, combine=combine, noise=0.1)
            y.zero_()
    assert torch.equal(x, before)


def test_rows_of_isolated_nodes_propagate_zeros(random_graph):
    isolated = (random_graph.degrees == 0).nonzero().flatten()
    assert len(isolated) >= 2
    x = torch.randn(70, 9)
    y = propagate(x, random_graph, 2, combine="concat", noise=0.5)[isolated]
    assert torch.equal(y[:, :9], x[isolated])
    assert torch.equal(y[:, 9:], torch.zeros(len(isolated), 18))


def test_infinity_and_nan_spread_to_neighbours_only(random_graph):
    for bad in (torch.inf, torch.nan):
        for dtype in STORAGE:
            x = torch.ones(70, 17, dtype=dtype)
            x[5, 16] = bad
            y = propagate(x, random_graph, 1, combine="last")
            expected = reference.propagate(x, random_graph, 1, combine="last")
            assert torch.equal(y.isfinite(), expected.isfinite())
            assert torch.equal(y.isnan(), expected.isnan())
            assert 0 < int((~y.isfinite()).sum()) <= int(random_graph.degrees[5])


@pytest.mark.parametrize("name", ["random", "star"])
def test_a_mask_of_no_edges_leaves_the_ego_table(name):
    graph = make_graph(name)
    seed = 11
    assert not edge_mask(graph, 1e-9, seed).any()
    x = torch.randn(graph.num_nodes, 5)
    assert torch.equal(propagate(x, graph, 3, keep_rate=1e-9, seed=seed), x)
    last = propagate(x, graph, 1, keep_rate=1e-9, seed=seed, combine="last")
    assert torch.equal(last, torch.zeros_like(x))


def test_half_precision_is_accumulated_in_float32(star_graph):
    # A bfloat16 sum of 100,000 ones would stop growing at 256.
    for dtype in (torch.bfloat16, torch.float16):
        y = propagate(
            torch.ones(star_graph.num_nodes, 2, dtype=dtype), star_graph, 1, combine="last"
        )
        expected = reference.propagate(
            torch.ones(star_graph.num_nodes, 2, dtype=torch.float64), star_graph, 1, combine="last"
        )
        torch.testing.assert_close(y.double(), expected, rtol=epsilon(dtype), atol=0.0)
