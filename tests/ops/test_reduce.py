from __future__ import annotations

import math

import pytest
import torch
from helpers import assert_error_budget, epsilon, same_bits

from rlmrec_fast.ops import reference, squared_norm
from rlmrec_fast.ops.reduce import stable_sum

SIZES = (0, 1, 2, 7, 8, 15, 16, 17, 63, 64, 65, 1000, 16_383, 16_384, 16_385, 40_001)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", SIZES)
def test_sums_of_every_size_stay_in_the_error_budget(size, dtype):
    x = torch.randn(size, dtype=dtype)
    exact = math.fsum(x.double().square().tolist())
    truth = torch.tensor(exact, dtype=torch.float64)
    tolerance = 16 * epsilon(dtype) * exact
    assert_error_budget(squared_norm(x), reference.squared_norm(x), truth, tolerance)
    magnitude = math.fsum(x.double().abs().tolist())
    truth = torch.tensor(math.fsum(x.double().tolist()), dtype=torch.float64)
    assert_error_budget(stable_sum(x), x.sum(), truth, 16 * epsilon(dtype) * magnitude)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_follow_a_non_uniform_upstream_gradient(dtype):
    x = torch.randn(5, 33, dtype=dtype, requires_grad=True)
    weight = torch.randn((), dtype=dtype)
    (grad,) = torch.autograd.grad(squared_norm(x) * weight, x)
    torch.testing.assert_close(grad, 2 * weight * x.detach())
    (grad,) = torch.autograd.grad(stable_sum(x) * weight, x)
    assert torch.equal(grad, weight.expand(5, 33))


def test_derivatives_are_those_of_finite_differences():
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    for function in (squared_norm, stable_sum):
        assert torch.autograd.gradcheck(function, x)
        assert torch.autograd.gradgradcheck(lambda x, f=function: f(x) ** 2, x)


def test_shapes_and_strides_do_not_matter():
    x = torch.randn(6, 20, 3)
    for view in (x, x[::2, 1:], x.permute(2, 0, 1), x[0, 0, 0], x[:1, :1, :1].expand(4, 5, 6)):
        expected = squared_norm(view.contiguous().flatten())
        assert squared_norm(view).shape == ()
        assert same_bits(squared_norm(view), expected)
        leaf = view.detach().requires_grad_()
        assert torch.equal(torch.autograd.grad(squared_norm(leaf), leaf)[0], 2 * view)


def test_a_sum_of_nothing_is_zero_and_has_an_empty_gradient():
    x = torch.zeros(0, 4, requires_grad=True)
    assert squared_norm(x).item() == 0.0
    assert torch.autograd.grad(squared_norm(x), x)[0].shape == (0, 4)


def test_nan_and_infinity_are_passed_on():
    for bad in (torch.nan, torch.inf):
        for position in (0, 40, 99):
            x = torch.ones(100)
            x[position] = bad
            assert str(squared_norm(x).item()) == str(bad)


def test_long_sums_of_equal_terms_do_not_stagnate():
    # Added one by one in float32, the sum would stop at 2^24.
    x = torch.ones(2**24 + 2**20)
    assert stable_sum(x).item() == 2**24 + 2**20


def test_wrong_types_are_refused():
    for bad in (torch.ones(3, dtype=torch.bfloat16), torch.ones(3, dtype=torch.int64)):
        with pytest.raises(TypeError, match=r"^squared_norm: x must .* \(got torch\."):
            squared_norm(bad)
    with pytest.raises(TypeError, match=r"^squared_norm: x must .* \(got list\)"):
        squared_norm([1.0])
