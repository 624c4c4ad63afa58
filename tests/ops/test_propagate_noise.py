from __future__ import annotations

import pytest
import torch
from helpers import assert_error_budget, epsilon, same_bits

from rlmrec_fast.ops import propagate, reference
from rlmrec_fast.ops.propagate import COMBINES


@pytest.mark.parametrize("d", [2, 8, 15, 16, 33, 64, 150])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_each_row_moves_by_eps_in_the_direction_of_its_signs(dtype, d, random_graph):
    eps = 0.25
    x = torch.randn(70, d, dtype=dtype)
    clean = propagate(x, random_graph, 1, combine="last")
    moved = propagate(x, random_graph, 1, combine="last", noise=eps, seed=3) - clean
    connected = random_graph.degrees > 0
    norms = moved[connected].double().norm(dim=1)
    torch.testing.assert_close(norms, torch.full_like(norms, eps), rtol=1e-5, atol=0.0)
    assert (moved * clean.sign() >= 0).all()
    assert torch.equal(moved[~connected], torch.zeros_like(moved[~connected]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("d", [1, 8, 31, 33, 64, 150])
def test_noisy_values_stay_in_the_error_budget_of_the_reference(d, dtype, random_graph):
    x = torch.randn(70, d, dtype=dtype)
    for combine in COMBINES:
        for num_layers in (0, 1, 3):
            settings = {"combine": combine, "noise": 0.2, "keep_rate": 0.7, "seed": 17}
            assert_error_budget(
                propagate(x, random_graph, num_layers, **settings),
                reference.propagate(x, random_graph, num_layers, **settings),
                reference.propagate(x.double(), random_graph, num_layers, **settings),
                30 * epsilon(dtype),
            )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_moved_before_it_is_rounded(dtype, random_graph):
    x = torch.randn(70, 33).to(dtype)
    settings = {"combine": "last", "noise": 0.2, "seed": 17}
    assert_error_budget(
        propagate(x, random_graph, 1, **settings),
        reference.propagate(x, random_graph, 1, **settings),
        reference.propagate(x.double(), random_graph, 1, **settings),
        4 * epsilon(dtype),
    )


def test_noise_differs_between_rows_layers_and_seeds(random_graph):
    # Ones everywhere, and eps so large that only the noise remains of a layer.
    x = torch.ones(70, 8, dtype=torch.float64)
    eps = 1e12
    connected = random_graph.degrees > 0
    first = propagate(x, random_graph, 1, combine="last", noise=eps, seed=1)[connected] / eps
    assert len(first.round(decimals=6).unique(dim=0)) == len(first)
    other = propagate(x, random_graph, 1, combine="last", noise=eps, seed=2)[connected] / eps
    assert ((first - other).norm(dim=1) > 1e-3).all()
    layers = propagate(x, random_graph, 2, combine="concat", noise=eps, seed=1)[connected] / eps
    clean = propagate(layers_of(x, random_graph, eps), random_graph, 1, combine="last") / eps
    second = layers[:, 16:] - clean[connected]
    assert ((first - second).norm(dim=1) > 1e-3).all()


def layers_of(x, graph, eps):
    return propagate(x, graph, 1, combine="last", noise=eps, seed=1)


def test_noise_is_uniform(parts_graph):
    # Each squared element of a direction is 1/d on average, and of any two the larger is either.
    x = torch.ones(parts_graph.num_nodes, 8, dtype=torch.float64)
    clean = propagate(x, parts_graph, 1, combine="last")
    moved = (propagate(x, parts_graph, 1, combine="last", noise=1.0, seed=4) - clean)[
        parts_graph.degrees > 0
    ]
    squares = moved.square().mean(0)
    assert (squares - 1 / 8).abs().max() < 5 * 0.1 / len(moved) ** 0.5
    larger = (moved[:, :4] > moved[:, 4:]).double().mean(0)
    assert (larger - 0.5).abs().max() < 5 * 0.5 / len(moved) ** 0.5


def test_the_same_seed_gives_the_same_bits_and_noise_zero_none(random_graph):
    x = torch.randn(70, 40)
    for combine in COMBINES:
        settings = {"combine": combine, "seed": 9}
        noisy = propagate(x, random_graph, 3, **settings, noise=0.1)
        torch.manual_seed(77)
        assert same_bits(noisy, propagate(x, random_graph, 3, **settings, noise=0.1))
        assert not torch.equal(noisy, propagate(x, random_graph, 3, **settings, noise=0.2))
        clean = propagate(x, random_graph, 3, combine=combine)
        assert same_bits(clean, propagate(x, random_graph, 3, **settings, noise=0.0))
