from __future__ import annotations

import pytest
import torch
from graphs import NAMES, make_graph
from helpers import assert_error_budget, epsilon, same_bits
from torch import Tensor

from rlmrec_fast.graph import InteractionGraph
from rlmrec_fast.ops import bpr_loss, propagate, propagated_bpr_loss, reference
from rlmrec_fast.ops.propagate import COMBINES

TINY = InteractionGraph.from_pairs([0, 0, 1, 2, 2], [0, 1, 1, 0, 2], 4, 3)


def nodes(size: int, num_nodes: int) -> list[Tensor]:
    """Any nodes: they repeat, within and between users, positives and negatives."""
    return [torch.randint(num_nodes, (size,)) for _ in range(3)]


def loss_and_gradient(operator, x: Tensor, graph, num_layers, ids, scale=-2.5, **settings):
    loss = operator(x, graph, num_layers, *ids, **settings)
    return [loss, *torch.autograd.grad(scale * loss, x)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("combine", COMBINES)
def test_loss_and_gradient_stay_in_the_error_budget_of_the_reference(combine, dtype, random_graph):
    for d, num_layers, keep_rate in ((1, 2, 1.0), (8, 0, 1.0), (33, 1, 0.7), (32, 3, 0.7)):
        x = torch.randn(70, d, dtype=dtype, requires_grad=True)
        exact = x.detach().double().requires_grad_()
        settings = {"combine": combine, "keep_rate": keep_rate, "seed": 3}
        call = (random_graph, num_layers, nodes(50, 70))
        ours, twin, truth = (
            loss_and_gradient(operator, table, *call, **settings)
            for operator, table in (
                (propagated_bpr_loss, x),
                (reference.propagated_bpr_loss, x),
                (reference.propagated_bpr_loss, exact),
            )
        )
        for a, b, c in zip(ours, twin, truth, strict=True):
            assert_error_budget(a, b, c, 50 * epsilon(dtype) * float(c.detach().abs().max()))


def chain(x, graph, num_layers, *ids, **settings):
    return bpr_loss(propagate(x, graph, num_layers, **settings), None, *ids)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("combine", ["sum", "concat"])
def test_bits_are_those_of_propagate_and_bpr_loss_on_graphs_of_every_shape(combine, name):
    graph = make_graph(name)
    x = torch.randn(graph.num_nodes, 16, requires_grad=True)
    for size in (1, 30, 4 * graph.num_nodes):
        call = (graph, 2, nodes(size, graph.num_nodes))
        settings = {"combine": combine, "keep_rate": 0.8, "seed": 2, "scale": 1.0}
        ours = loss_and_gradient(propagated_bpr_loss, x, *call, **settings)
        expected = loss_and_gradient(chain, x, *call, **settings)
        assert all(same_bits(a, b) for a, b in zip(ours, expected, strict=True))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_tables_of_16_bits(dtype, random_graph):
    x = torch.randn(70, 8).to(dtype).requires_grad_()
    ids = nodes(40, 70)
    ours = loss_and_gradient(propagated_bpr_loss, x, random_graph, 2, ids, combine="concat")
    expected = loss_and_gradient(chain, x, random_graph, 2, ids, combine="concat")
    assert ours[0].dtype == torch.float32
    assert same_bits(ours[0], expected[0])
    assert ours[1].dtype == dtype
    torch.testing.assert_close(ours[1], expected[1], rtol=0.05, atol=1e-3)


@pytest.mark.parametrize("combine", COMBINES)
def test_the_derivative_is_that_of_finite_differences(combine):
    x = torch.randn(7, 2, dtype=torch.float64, requires_grad=True)
    ids = nodes(9, 7)
    assert torch.autograd.gradcheck(
        lambda x: propagated_bpr_loss(x, TINY, 2, *ids, combine=combine, keep_rate=0.6, seed=4), x
    )


def test_differentiating_twice_is_refused_rather_than_wrong():
    x = torch.randn(7, 2, dtype=torch.float64, requires_grad=True)
    loss = propagated_bpr_loss(x, TINY, 2, *nodes(9, 7))
    (grad,) = torch.autograd.grad(loss, x, create_graph=True)
    with pytest.raises(RuntimeError, match=r"^propagated_bpr_loss: must be differentiated once"):
        torch.autograd.grad(grad.square().sum(), x)


def test_a_kept_graph_gives_the_same_gradient_again():
    x = torch.randn(7, 2, requires_grad=True)
    loss = propagated_bpr_loss(x, TINY, 2, *nodes(9, 7))
    first, again, doubled = (
        torch.autograd.grad(scale * loss, x, retain_graph=True)[0] for scale in (1, 1, 2)
    )
    assert same_bits(first, again)
    torch.testing.assert_close(doubled, 2 * first)


def test_without_gradients_the_loss_is_the_same():
    x, ids = torch.randn(7, 2, requires_grad=True), nodes(9, 7)
    loss = propagated_bpr_loss(x, TINY, 2, *ids)
    with torch.no_grad():
        assert same_bits(propagated_bpr_loss(x, TINY, 2, *ids), loss)
    constant = propagated_bpr_loss(x.detach(), TINY, 2, *ids)
    assert same_bits(constant, loss)
    assert not constant.requires_grad


def test_an_empty_batch_gives_nan_as_a_mean_does_and_zero_gradients():
    x = torch.randn(7, 2, requires_grad=True)
    loss, grad = loss_and_gradient(propagated_bpr_loss, x, TINY, 2, nodes(0, 7))
    assert loss.isnan()
    assert grad.shape == x.shape
    assert not grad.any()
