from __future__ import annotations

import pytest
import torch
from helpers import assert_error_budget, epsilon, same_bits
from torch import Tensor

from rlmrec_fast import ops
from rlmrec_fast.ops import info_nce, info_nce_by_id, reference, symmetric_info_nce

SHAPES = [
    (1, 1, 1),
    (1, 33, 7),
    (5, 1, 16),
    (12, 32, 32),
    (13, 31, 33),
    (50, 65, 64),
    (100, 250, 130),
]
REDUCTIONS = ("sum", "mean", "none")


def tables(b: int, c: int, d: int, dtype: torch.dtype) -> list[Tensor]:
    """A query, a positive and a candidate table, rows of lengths that differ."""
    drawn = [torch.randn(n, d, dtype=dtype) * (1 + torch.rand(n, 1) * 3) for n in (b, b, c)]
    return [table.to(dtype).requires_grad_() for table in drawn]


def value_and_gradients(operator, inputs, *args, upstream, **kwargs) -> list[Tensor]:
    loss = operator(*inputs, *args, **kwargs)
    return [loss, *torch.autograd.grad(loss, inputs, upstream.to(loss.dtype))]


def assert_in_budget(operator, twin, inputs, *args, factor, least=1e-3, **kwargs) -> None:
    """Losses and gradients against float64, for an upstream gradient that is not uniform.

    `least` is the size of what cancels where a result is nearly 0.
    """
    exact = [table.detach().double().requires_grad_() for table in inputs]
    with torch.no_grad():
        upstream = torch.randn(operator(*inputs, *args, **kwargs).shape)
    ours, eager, truth = (
        value_and_gradients(work, x, *args, upstream=upstream, **kwargs)
        for work, x in ((operator, inputs), (twin, inputs), (twin, exact))
    )
    dtype = inputs[0].dtype
    for a, b, c in zip(ours, eager, truth, strict=True):
        size = float(c.detach().abs().max()) if c.numel() else 0.0
        assert_error_budget(a, b, c, factor * epsilon(dtype) * max(size, least))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("temperature", [0.01, 0.2, 10.0])
@pytest.mark.parametrize("shape", SHAPES)
def test_losses_and_gradients_stay_in_the_error_budget_of_the_reference(shape, temperature, dtype):
    # Logits of size 1 / temperature carry that many times the rounding of a cosine.
    factor = (8 + shape[2] ** 0.5) * (1 + 1 / temperature)
    for reduction in REDUCTIONS:
        assert_in_budget(
            info_nce,
            reference.info_nce,
            tables(*shape, dtype),
            temperature,
            reduction=reduction,
            factor=factor,
            # With few columns, directions have little room and gradients nearly cancel.
            least=10.0 if shape[2] < 16 else 1e-3,
        )


def test_rows_of_zeros_have_the_gradient_of_their_length():
    inputs = tables(30, 40, 8, torch.float32)
    with torch.no_grad():
        for row, table in enumerate(inputs):
            table[row] = 0
    exact = [x.detach().double().requires_grad_() for x in inputs]
    grads = torch.autograd.grad(info_nce(*inputs, 0.2), inputs)
    expected = torch.autograd.grad(reference.info_nce(*exact, 0.2), exact)
    for row, (ours, truth) in enumerate(zip(grads, expected, strict=True)):
        assert truth[row].abs().max() > 1e3  # 1 / sqrt(eps) times the others'
        for part in (slice(row, row + 1), slice(row + 1, None)):
            torch.testing.assert_close(ours[part].double(), truth[part], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_weights_of_queries_and_candidates(reduction, dtype):
    query_weight = torch.randint(0, 4, (50,))
    candidate_weight = torch.rand(90)
    candidate_weight[::7] = 0
    assert_in_budget(
        info_nce,
        reference.info_nce,
        tables(50, 90, 20, dtype),
        0.2,
        query_weight=query_weight,
        candidate_weight=candidate_weight,
        reduction=reduction,
        factor=100,
    )


@pytest.mark.parametrize("wide", [384, 1536, 4096])
def test_wide_tables(wide):
    assert_in_budget(
        info_nce, reference.info_nce, tables(20, 40, wide, torch.float32), 0.1, factor=800
    )


def test_a_worked_example():
    query, positive = torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, 2.0]])
    candidates = torch.tensor([[1.0, 0.0], [0.0, 5.0]])
    # cosines .6 and .8, the positive's .8: log(e^1.2 + e^1.6) - 1.6
    loss = info_nce(query, positive, candidates, 0.5)
    assert loss.item() == pytest.approx(0.5130152524, abs=1e-6)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("temperature", [0.002, 0.3])
def test_derivatives_are_those_of_finite_differences(temperature, reduction):
    inputs = [torch.randn(n, 3, dtype=torch.float64, requires_grad=True) for n in (4, 4, 9)]
    weights = {"query_weight": torch.rand(4), "candidate_weight": torch.rand(9)}
    # A small step, as small temperatures bend sharply.
    assert torch.autograd.gradcheck(
        lambda *x: info_nce(*x, temperature, reduction=reduction, **weights),
        inputs,
        eps=1e-7,
        atol=1e-3 if temperature < 0.1 else 1e-5,
    )


def test_random_directions_at_a_low_temperature_do_not_vanish():
    # All cosines are near 0, so exp((cos - 1) / 0.01) would underflow in float32.
    inputs = tables(40, 300, 256, torch.float32)
    losses = info_nce(*inputs, 0.01, reduction="none")
    expected = reference.info_nce(*[x.double() for x in inputs], 0.01, reduction="none")
    torch.testing.assert_close(losses.double(), expected, rtol=1e-5, atol=1e-3)
    assert all(g.isfinite().all() for g in torch.autograd.grad(losses.sum(), inputs))


@pytest.mark.parametrize("asked", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (0, 1, 1)])
@pytest.mark.parametrize("reduction", ["sum", "none"])
def test_only_the_gradients_asked_for_are_produced(reduction, asked):
    inputs = [
        x.detach().requires_grad_(bool(a))
        for x, a in zip(tables(9, 40, 8, torch.float32), asked, strict=True)
    ]
    whole = [x.detach().requires_grad_() for x in inputs]
    for x in (inputs, whole):
        info_nce(*x, 0.2, reduction=reduction).sum().backward()
    for mine, all_of_them, want in zip(inputs, whole, asked, strict=True):
        assert (mine.grad is not None) == bool(want)
        assert not want or same_bits(mine.grad, all_of_them.grad)
    assert not info_nce(*[x.detach() for x in inputs], 0.2, reduction=reduction).requires_grad


def test_a_second_derivative_is_refused_rather_than_wrong():
    for reduction in ("sum", "none"):
        inputs = tables(5, 6, 3, torch.float64)
        loss = info_nce(*inputs, 0.2, reduction=reduction).sum()
        grads = torch.autograd.grad(loss, inputs, create_graph=True)
        with pytest.raises(RuntimeError, match="must be differentiated once only"):
            torch.autograd.grad(grads[0].square().sum(), inputs)


def test_many_candidates_are_computed_in_ranges():
    # More than the exponentials of a few strips may take, so that they are computed twice.
    assert_in_budget(
        info_nce, reference.info_nce, tables(101, 40_000, 5, torch.float32), 0.2, factor=2000
    )


@pytest.mark.parametrize(("queries", "candidates"), [(8000, 200), (50, 60_000)])
def test_long_sums_round_no_more_than_the_references(queries, candidates):
    inputs = tables(queries, candidates, 16, torch.float32)
    exact = [x.detach().double().requires_grad_() for x in inputs]
    ours, twin, truth = (
        torch.autograd.grad(operator(*x, 0.2), x)
        for operator, x in (
            (info_nce, inputs),
            (reference.info_nce, inputs),
            (reference.info_nce, exact),
        )
    )
    for a, b, c in zip(ours, twin, truth, strict=True):
        assert (a - c).norm() <= 1.5 * (b - c).norm() + 1e-7 * c.norm()


def test_the_sum_is_that_of_the_single_losses():
    inputs = tables(130, 700, 24, torch.float32)
    total, losses = (info_nce(*inputs, 0.2, reduction=r) for r in ("sum", "none"))
    torch.testing.assert_close(total, losses.sum())
    mean = info_nce(*inputs, 0.2, reduction="mean")
    torch.testing.assert_close(mean, losses.mean())


def test_an_empty_batch():
    query, positive, candidates = tables(0, 7, 4, torch.float32)
    assert info_nce(query, positive, candidates, 0.2).item() == 0
    assert info_nce(query, positive, candidates, 0.2, reduction="none").shape == (0,)
    grads = torch.autograd.grad(
        info_nce(query, positive, candidates, 0.2), (query, positive, candidates)
    )
    assert [g.shape for g in grads] == [(0, 4), (0, 4), (7, 4)]
    assert not grads[2].any()


def test_strides_and_16_bit_tables():
    wide = torch.randn(90, 40)
    views = [wide[:20, ::2], wide[20:40, 3:23], torch.randn(20, 50).T]
    expected = info_nce(*[x.contiguous() for x in views], 0.2)
    assert same_bits(info_nce(*views, 0.2), expected)
    halves = [x.to(torch.bfloat16).requires_grad_() for x in views]
    loss = info_nce(*halves, 0.2)
    assert loss.dtype == torch.float32
    assert same_bits(loss, info_nce(*[x.float() for x in halves], 0.2))
    assert [g.dtype for g in torch.autograd.grad(loss, halves)] == [torch.bfloat16] * 3


def test_nan_is_passed_on_to_its_own_query():
    query, positive, candidates = (x.detach() for x in tables(6, 9, 5, torch.float32))
    query[3, 2] = torch.nan
    losses = info_nce(query, positive, candidates, 0.2, reduction="none")
    assert losses.isnan().tolist() == [False, False, False, True, False, False]
    losses = info_nce(query, positive, candidates, 0.01, reduction="none")
    assert losses.isnan().tolist() == [False, False, False, True, False, False]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("candidates", ["all", "batch"])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("size", [1, 60, 3000])
def test_by_id_equals_the_plain_form_under_heavy_duplication(size, reduction, candidates, dtype):
    inputs = [torch.randn(80, 16, dtype=dtype, requires_grad=True) for _ in range(2)]
    ids = (torch.rand(size) ** 3 * 80).long()
    assert_in_budget(
        info_nce_by_id,
        reference.info_nce_by_id,
        inputs,
        ids,
        0.2,
        candidates,
        reduction=reduction,
        factor=300,
        least=5.0 if size == 1 else 1e-3,  # one candidate: the loss cancels to 0
    )


def test_by_id_of_no_ids():
    inputs = [torch.randn(8, 4, requires_grad=True) for _ in range(2)]
    none = torch.zeros(0, dtype=torch.int64)
    for candidates in ("all", "batch"):
        assert info_nce_by_id(*inputs, none, 0.2, candidates).item() == 0
        assert info_nce_by_id(*inputs, none, 0.2, candidates, reduction="none").shape == (0,)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_symmetric_form(reduction):
    inputs = [torch.randn(40, 12, requires_grad=True) for _ in range(2)]
    assert_in_budget(
        symmetric_info_nce,
        reference.symmetric_info_nce,
        inputs,
        0.1,
        reduction=reduction,
        factor=100,
    )
    x, y = inputs
    swapped = symmetric_info_nce(y, x, 0.1, reduction=reduction)
    torch.testing.assert_close(swapped, symmetric_info_nce(x, y, 0.1, reduction=reduction))


@pytest.mark.parametrize("shape", [(1, 1, 2), (13, 33, 7), (300, 1000, 32), (40, 2000, 130)])
def test_products_in_bfloat16_are_good_to_two_digits(shape):
    inputs = tables(*shape, torch.float32)
    weights = torch.rand(shape[1])
    exact = [x.detach().double().requires_grad_() for x in inputs]
    losses = info_nce(*inputs, 0.2, candidate_weight=weights, dtype=torch.bfloat16)
    truth = reference.info_nce(*exact, 0.2, candidate_weight=weights)
    torch.testing.assert_close(losses.double(), truth, rtol=2e-3, atol=2e-2)
    grads, expected = torch.autograd.grad(losses, inputs), torch.autograd.grad(truth, exact)
    for ours, correct in zip(grads, expected, strict=True):
        assert (ours - correct).norm() <= 5e-3 * correct.norm() + 1e-4
    total = info_nce(*inputs, 0.2, candidate_weight=weights, dtype=torch.bfloat16)
    singles = info_nce(
        *inputs, 0.2, candidate_weight=weights, dtype=torch.bfloat16, reduction="none"
    )
    torch.testing.assert_close(total, singles.sum())


def test_the_tables_own_type_may_be_asked_for_and_no_other():
    inputs = tables(5, 6, 8, torch.float32)
    plain = info_nce(*inputs, 0.2)
    assert same_bits(info_nce(*inputs, 0.2, dtype=torch.float32), plain)
    for dtype in (torch.float16, torch.float64):
        with pytest.raises(ValueError, match=r"^info_nce: dtype must be None, the tables' own"):
            info_nce(*inputs, 0.2, dtype=dtype)
    doubles = [x.double() for x in inputs]
    with pytest.raises(ValueError, match="dtype must be None"):
        info_nce(*doubles, 0.2, dtype=torch.bfloat16)


def test_low_temperatures_keep_float32_products():
    inputs = tables(9, 50, 16, torch.float32)
    plain, asked = (info_nce(*inputs, 0.01, dtype=dtype) for dtype in (None, torch.bfloat16))
    assert same_bits(plain, asked)


def test_training_pulls_pairs_together():
    torch.manual_seed(3)
    x, y = (torch.randn(64, 8, requires_grad=True) for _ in range(2))
    optimizer = torch.optim.Adam([x, y], lr=0.05)
    for _ in range(150):
        optimizer.zero_grad()
        ops.symmetric_info_nce(x, y, 0.2).backward()
        optimizer.step()
    nearest = torch.nn.functional.normalize(x) @ torch.nn.functional.normalize(y).T
    assert (nearest.argmax(1) == torch.arange(64)).float().mean() > 0.95
