from __future__ import annotations

from typing import Any

import pytest
import torch
from graphs import NAMES, make_graph
from helpers import assert_error_budget, same_bits
from torch import Tensor

from rlmrec_fast.graph import InteractionGraph
from rlmrec_fast.ops import edge_mask, propagate, reference
from rlmrec_fast.ops.propagate import COMBINES

STORAGE = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
TINY = InteractionGraph.from_pairs([0, 0, 1, 2, 2], [0, 1, 1, 0, 2], 4, 3)


def gradient(operator: Any, x: Tensor, upstream: Tensor, *args: Any, **settings: Any) -> Tensor:
    x = x.detach().requires_grad_()
    y = operator(x, *args, **settings)
    return torch.autograd.grad(y, x, upstream.to(y.dtype))[0]


def check_gradient(
    graph: InteractionGraph, num_layers: int, d: int, dtype: torch.dtype, **settings: Any
) -> None:
    x = torch.randn(graph.num_nodes, d).to(dtype)
    call = (graph, num_layers)
    upstream = torch.randn_like(propagate(x, *call, **settings))
    magnitude = gradient(
        reference.propagate, x.double(), upstream.abs().double(), *call, **settings
    )
    info = torch.finfo(dtype)
    steps = max(2, int(graph.degrees.max())) if dtype == torch.float64 else 2
    assert_error_budget(
        gradient(propagate, x, upstream, *call, **settings),
        gradient(reference.propagate, x, upstream, *call, **settings),
        gradient(reference.propagate, x.double(), upstream, *call, **settings),
        steps * (num_layers + 2) * (info.eps * magnitude + info.tiny * info.eps),
    )


@pytest.mark.parametrize("dtype", STORAGE)
@pytest.mark.parametrize("d", [1, 8, 31, 33, 64, 150])
def test_gradients_of_every_width_stay_in_the_error_budget_of_autograd(d, dtype, random_graph):
    check_gradient(random_graph, 3, d, dtype)
    check_gradient(random_graph, 2, d, dtype, combine="concat", keep_rate=0.6, seed=5)


@pytest.mark.parametrize("dtype", STORAGE)
@pytest.mark.parametrize("combine", COMBINES)
def test_gradients_of_every_combination_stay_in_the_error_budget_of_autograd(
    combine, dtype, random_graph
):
    # Repeated rows: their gradients add up.
    repeated, some = torch.randint(0, 70, (200,)), torch.randperm(70)[:30]
    none = torch.empty(0, dtype=torch.long)
    for num_layers in (0, 1, 2, 3, 6):
        for rows in (None, repeated, some, none):
            check_gradient(
                random_graph,
                num_layers,
                5,
                dtype,
                combine=combine,
                keep_rate=0.7,
                seed=3,
                rows=rows,
            )


@pytest.mark.parametrize("name", NAMES)
def test_gradients_on_graphs_of_every_shape_are_those_of_autograd(name):
    graph = make_graph(name)
    check_gradient(graph, 2, 3, torch.float32, keep_rate=0.7, seed=9)
    check_gradient(graph, 2, 3, torch.float64, combine="concat", rows=torch.tensor([1, 1, 0]))
    some = torch.randperm(graph.num_nodes)[: (graph.num_nodes + 1) // 2]
    for combine in COMBINES:
        check_gradient(graph, 2, 17, torch.float64, combine=combine, rows=some)
        check_gradient(graph, 3, 3, torch.float64, combine=combine, keep_rate=0.6, rows=some)


@pytest.mark.parametrize("combine", COMBINES)
@pytest.mark.parametrize("rows", [None, torch.tensor([6, 0, 6, 2]), torch.tensor([5, 1])])
@pytest.mark.parametrize(("keep_rate", "noise"), [(1.0, 0.0), (0.6, 0.0), (0.6, 0.1)])
def test_first_and_second_derivatives_are_those_of_finite_differences(
    combine, rows, keep_rate, noise
):
    x = torch.randn(7, 2, dtype=torch.float64, requires_grad=True)

    def function(x: Tensor) -> Tensor:
        return propagate(
            x, TINY, 2, combine=combine, keep_rate=keep_rate, seed=4, noise=noise, rows=rows
        )

    assert torch.autograd.gradcheck(function, x, eps=1e-5)
    if noise == 0:
        assert torch.autograd.gradgradcheck(function, x)
        assert torch.autograd.gradgradcheck(lambda x: function(x) ** 2, x)


@pytest.mark.parametrize("dtype", STORAGE)
def test_upstream_gradients_may_be_expanded_or_strided(dtype, random_graph):
    n, d = random_graph.num_nodes, 9
    x = torch.randn(n, d).to(dtype)
    upstream = {
        "of a sum": torch.ones((), dtype=dtype).expand(n, d),
        "one row": torch.randn(1, d).to(dtype).expand(n, d),
        "one column": torch.randn(n, 1).to(dtype).expand(n, d),
        "transposed": torch.randn(d, n).to(dtype).T,
        "strided": torch.randn(2 * n, 2 * d).to(dtype)[::2, d:],
    }
    for name, grad in upstream.items():
        for rows in (None, torch.arange(n).flip(0)):
            ours = gradient(propagate, x, grad, random_graph, 2, rows=rows)
            expected = gradient(propagate, x, grad.contiguous(), random_graph, 2, rows=rows)
            assert same_bits(ours, expected), name


@pytest.mark.parametrize("combine", COMBINES)
def test_the_gradient_is_the_adjoint_with_the_mask_transposed(combine, star_graph):
    graph = star_graph
    settings = {"combine": combine, "keep_rate": 0.6, "seed": 8}
    x = torch.randn(graph.num_nodes, 3, dtype=torch.float64, requires_grad=True)
    y = propagate(x, graph, 3, **settings)
    upstream = torch.randn_like(y)
    (grad,) = torch.autograd.grad(y, x, upstream)
    left, right = (y * upstream).sum(), (x * grad).sum()
    torch.testing.assert_close(left, right, rtol=1e-9, atol=0.0)


def test_backward_asks_for_the_reverse_edge(random_graph):
    mask = edge_mask(random_graph, 0.5, 2)
    rows = reference.edge_rows(random_graph)
    one_way = mask & ~mask[random_graph.reverse]
    edge = int(one_way.nonzero()[0])
    row, column = int(rows[edge]), int(random_graph.columns[edge])
    x = torch.randn(random_graph.num_nodes, 4, requires_grad=True)
    y = propagate(x, random_graph, 1, combine="last", keep_rate=0.5, seed=2)
    (to_column,) = torch.autograd.grad(y[row].sum(), x, retain_graph=True)
    (to_row,) = torch.autograd.grad(y[column].sum(), x)
    assert (to_column[column] > 0).all()
    assert (to_row[row] == 0).all()


def test_noise_does_not_change_the_gradient(random_graph):
    x = torch.randn(70, 20)
    for combine in COMBINES:
        upstream = torch.randn(70, 60 if combine == "concat" else 20)
        settings = {"combine": combine, "keep_rate": 0.8, "seed": 1}
        noisy = gradient(propagate, x, upstream, random_graph, 2, **settings, noise=0.3)
        assert same_bits(noisy, gradient(propagate, x, upstream, random_graph, 2, **settings))


def test_no_activation_is_saved_for_backward(random_graph):
    saved: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        saved.append(tensor)
        return tensor

    x = torch.randn(70, 16, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        propagate(x, random_graph, 3, keep_rate=0.5, seed=1)
    floating = [tensor for tensor in saved if tensor.is_floating_point()]
    assert all(tensor.shape == (70,) for tensor in floating)
    assert len(floating) <= 1


def test_a_table_without_gradient_gives_a_result_without_one(random_graph):
    assert not propagate(torch.randn(70, 4), random_graph, 2).requires_grad
    with torch.no_grad():
        assert not propagate(torch.randn(70, 4, requires_grad=True), random_graph, 2).requires_grad


def test_gradients_of_several_uses_add_up(random_graph):
    x = torch.randn(70, 4, dtype=torch.float64, requires_grad=True)
    a, b = torch.randn(2, 70, 4, dtype=torch.float64)
    first = propagate(x, random_graph, 2)
    second = propagate(first * b, random_graph, 1)
    ours = torch.autograd.grad((first * a + second).sum(), x)[0]
    first = reference.propagate(x, random_graph, 2)
    second = reference.propagate(first * b, random_graph, 1)
    torch.testing.assert_close(ours, torch.autograd.grad((first * a + second).sum(), x)[0])
