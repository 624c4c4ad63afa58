from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from helpers import assert_error_budget, epsilon

from rlmrec_fast.ops import reconstruction_loss, reference

REDUCTIONS = ("mean", "sum", "none")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("temperature", [0.02, 0.1, 1.0])
@pytest.mark.parametrize("shape", [(2, 3), (33, 16), (100, 40), (64, 384)])
def test_losses_and_gradients_stay_in_the_error_budget(shape, temperature, dtype):
    inputs = [torch.randn(*shape, dtype=dtype, requires_grad=True) for _ in range(2)]
    exact = [x.detach().double().requires_grad_() for x in inputs]
    for reduction in REDUCTIONS:
        upstream = torch.randn(shape[0] if reduction == "none" else ())
        results = []
        for operator, x in (
            (reconstruction_loss, inputs),
            (reference.reconstruction_loss, inputs),
            (reference.reconstruction_loss, exact),
        ):
            loss = operator(*x, temperature, reduction)
            results.append([loss, *torch.autograd.grad(loss, x, upstream.to(loss.dtype))])
        for ours, twin, truth in zip(*results, strict=True):
            size = float(truth.detach().abs().max())
            tolerance = epsilon(dtype) * (8 + shape[1] ** 0.5) * (1 + 1 / temperature)
            assert_error_budget(ours, twin, truth, tolerance * max(size, 1e-3))


def test_the_inner_epsilon_counts_where_a_row_is_far_from_its_twin():
    # cos -1 to the own row, +1 to the other: exp(-2 / 0.05) is far below delta.
    x = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], requires_grad=True)
    y = torch.tensor([[-2.0, 0.0], [3.0, 0.0]], requires_grad=True)
    losses = reconstruction_loss(x, y, 0.05, "none")
    torch.testing.assert_close(losses, torch.full((2,), 18.420681))  # -log(1e-8)
    assert torch.autograd.grad(losses.sum(), (x, y))[0].abs().max() < 1e-6


def test_rows_of_length_zero_are_like_in_pytorch():
    x, y = torch.randn(6, 5), torch.randn(6, 5)
    x[2] = 0
    y[4] = 0
    found = reconstruction_loss(x, y, 0.3, "none")
    torch.testing.assert_close(found, reference.reconstruction_loss(x, y, 0.3, "none"))


def test_without_epsilons_it_is_a_cross_entropy():
    x, y = torch.randn(30, 12), torch.randn(30, 12)
    logits = F.normalize(x) @ F.normalize(y).T / 0.2
    expected = F.cross_entropy(logits, torch.arange(30))
    torch.testing.assert_close(reconstruction_loss(x, y, 0.2, delta=0.0), expected)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("delta", [1e-8, 0.05])
def test_derivatives_are_those_of_finite_differences(delta, reduction):
    inputs = [torch.randn(7, 3, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    assert torch.autograd.gradcheck(
        lambda x, y: reconstruction_loss(x, y, 0.3, reduction, delta), inputs
    )


def test_no_rows_give_what_pytorch_gives():
    none = torch.zeros(0, 4)
    assert reconstruction_loss(none, none, 0.2).isnan()
    assert reconstruction_loss(none, none, 0.2, "sum").item() == 0
    assert reconstruction_loss(none, none, 0.2, "none").shape == (0,)
