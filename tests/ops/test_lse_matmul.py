from __future__ import annotations

import pytest
import torch
from helpers import assert_error_budget, epsilon

from rlmrec_fast.ops import lse_matmul, reference

REDUCTIONS = ("mean", "sum", "none")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [0.1, 0.5, 1.0, 30.0])
@pytest.mark.parametrize("shape", [(1, 1, 1), (7, 33, 5), (40, 100, 32), (25, 300, 70)])
def test_values_and_gradients_stay_in_the_error_budget(shape, scale, dtype):
    b, c, d = shape
    inputs = [(scale * torch.randn(n, d, dtype=dtype)).requires_grad_() for n in (b, c)]
    exact = [x.detach().double().requires_grad_() for x in inputs]
    weights = torch.rand(c)
    for reduction in REDUCTIONS:
        upstream = torch.randn(b if reduction == "none" else ())
        results = []
        for operator, x in (
            (lse_matmul, inputs),
            (reference.lse_matmul, inputs),
            (reference.lse_matmul, exact),
        ):
            value = operator(*x, weights.to(x[0].dtype), reduction)
            results.append([value, *torch.autograd.grad(value, x, upstream.to(value.dtype))])
        # The largest logit is about scale^2 d, and its rounding is the error of the softmax.
        logit = float((exact[0] @ exact[1].T).detach().abs().max())
        for ours, twin, truth in zip(*results, strict=True):
            size = float(truth.detach().abs().max())
            tolerance = epsilon(dtype) * (8 + 2 * logit + d**0.5) * max(size, 1e-6)
            assert_error_budget(ours, twin, truth, tolerance)


def test_logits_of_any_size_neither_overflow_nor_vanish():
    query = torch.tensor([[1.0], [-1.0], [0.0]])
    for size in (1e4, 1e-4, 500.0):
        candidates = torch.tensor([[size], [size], [-3 * size]])
        expected = (query.double() @ candidates.double().T).logsumexp(1)
        found = lse_matmul(query, candidates, reduction="none")
        torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=1e-6)


def test_candidates_of_weight_zero_do_not_count_however_large():
    query = torch.ones(2, 1)
    candidates = torch.tensor([[1e4], [1.0], [2.0]])
    found = lse_matmul(query, candidates, torch.tensor([0.0, 1.0, 1.0]))
    assert found.item() == pytest.approx(2.3132617, abs=1e-5)


def test_logits_far_below_zero_win_over_the_padding():
    # One candidate in a tile of many: the empty places must not count as logits of 0.
    query, candidates = torch.full((3, 4), 10.0), torch.full((1, 4), -10.0)
    torch.testing.assert_close(
        lse_matmul(query, candidates, reduction="none"), torch.full((3,), -400.0)
    )


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_derivatives_are_those_of_finite_differences(reduction):
    inputs = [torch.randn(n, 3, dtype=torch.float64, requires_grad=True) for n in (5, 8)]
    weights = torch.rand(8, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda q, k: lse_matmul(q, k, weights, reduction), inputs)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_query_weights_count_what_is_repeated(reduction):
    query, candidates = (torch.randn(n, 3, dtype=torch.float64) for n in (5, 8))
    counts = torch.tensor([1, 2, 0, 3, 1])
    leaves = [x.requires_grad_() for x in (query, candidates)]
    found = lse_matmul(*leaves, reduction=reduction, query_weight=counts)
    twin = reference.lse_matmul(*leaves, reduction=reduction, query_weight=counts)
    torch.testing.assert_close(found, twin)
    upstream = torch.randn(found.shape, dtype=found.dtype)
    grads = (torch.autograd.grad(y, leaves, upstream) for y in (found, twin))
    for ours, theirs in zip(*grads, strict=True):
        torch.testing.assert_close(ours, theirs)
    if reduction == "sum":
        repeated = query.repeat_interleave(counts, dim=0)
        torch.testing.assert_close(found, lse_matmul(repeated, candidates, reduction="sum"))


# Products of lengths around 41.6, from where on logits are shifted by their maximum in float32, and
# around 346, in float64; and pairs whose lengths are extreme while their products are not.
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("query_size", "candidate_size"),
    [(40, 1), (41.5, 1), (41.7, 1), (44, 1), (345, 1), (347, 1), (1e11, 1e-10), (1e-11, 1e12)],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_logits_at_the_edge_of_the_range_are_exact(query_size, candidate_size, sign, dtype):
    directions = torch.nn.functional.normalize(torch.randn(70, 4, dtype=torch.float64))
    query = directions[:30] * query_size
    query[::5] /= 100  # so that strips have queries of both kinds
    candidates = directions[30:] * sign * candidate_size
    candidates[:9] = directions[:9] * sign * candidate_size
    found = []
    for operator, kind in ((lse_matmul, dtype), (reference.lse_matmul, torch.float64)):
        leaves = [x.to(dtype).to(kind).requires_grad_() for x in (query, candidates)]
        value = operator(*leaves, reduction="sum")
        found.append([value, *torch.autograd.grad(value, leaves)])
    logit = query_size * candidate_size
    for ours, truth in zip(*found, strict=True):
        tolerance = epsilon(dtype) * (20 + 3 * logit) * float(truth.detach().abs().max())
        torch.testing.assert_close(ours.double(), truth, rtol=0, atol=tolerance)


@pytest.mark.parametrize("bad", [float("inf"), float("nan")])
def test_rows_that_are_not_finite_spoil_only_what_they_meet(bad):
    query, candidates = torch.randn(30, 4), torch.randn(20, 4)
    clean = lse_matmul(query, candidates, reduction="none")
    broken = query.index_fill(0, torch.tensor([3]), bad)
    found = lse_matmul(broken, candidates, reduction="none")
    others = torch.arange(30) != 3
    torch.testing.assert_close(found[others], clean[others])
    assert not found[3].isfinite()
    candidates[7] = float("nan")
    assert lse_matmul(query, candidates, reduction="none").isnan().all()
