from __future__ import annotations

import pytest
import torch
from helpers import assert_error_budget, epsilon, same_bits
from torch import Tensor

from rlmrec_fast.ops import bpr_loss, reference

WIDTHS = (1, 3, 8, 16, 31, 32, 33, 64, 100, 128, 150)
USERS, ITEMS = 40, 60


def batch(size: int = 200, users: int = USERS) -> list[Tensor]:
    sizes = (users, ITEMS, ITEMS)
    return [torch.randint(0, high, (size,)) for high in sizes]


def tables(d: int, dtype: torch.dtype) -> list[Tensor]:
    return [torch.randn(n, d).to(dtype).requires_grad_() for n in (USERS, ITEMS)]


def value_and_gradients(operator, inputs, ids, reduction, upstream) -> list[Tensor]:
    loss = operator(*inputs, *ids, reduction)
    return [loss, *torch.autograd.grad(loss, inputs, upstream.to(loss.dtype))]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("d", WIDTHS)
def test_losses_and_gradients_stay_in_the_error_budget_of_the_reference(d, dtype):
    inputs, ids = tables(d, dtype), batch()
    exact = [table.detach().double().requires_grad_() for table in inputs]
    for reduction in ("mean", "sum", "none"):
        upstream = torch.randn(200 if reduction == "none" else ())
        ours, twin, truth = (
            value_and_gradients(operator, args, ids, reduction, upstream)
            for operator, args in (
                (bpr_loss, inputs),
                (reference.bpr_loss, inputs),
                (reference.bpr_loss, exact),
            )
        )
        # A margin is a sum over d products, a gradient one over a row's samples.
        for a, b, c in zip(ours, twin, truth, strict=True):
            tolerance = 8 * (d**0.5 + 2) * epsilon(dtype) * float(c.detach().abs().max())
            assert_error_budget(a, b, c, tolerance)


def test_a_worked_example():
    user, item = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 0.0], [0.0, 1.0]])
    ids = [torch.tensor([0]), torch.tensor([0]), torch.tensor([1])]
    # margin = 2 - 3 = -1; softplus(-1) = 0.313262
    assert bpr_loss(user, item, *ids).item() == pytest.approx(0.3132616875, abs=1e-7)


def test_derivatives_are_those_of_finite_differences():
    user, item = tables(3, torch.float64)
    ids = batch(9, users=2)
    for reduction in ("mean", "sum", "none"):
        assert torch.autograd.gradcheck(
            lambda u, i, reduction=reduction: bpr_loss(u, i, *ids, reduction), (user, item)
        )


def test_differentiating_twice_is_refused_rather_than_wrong():
    inputs = tables(3, torch.float64)
    loss = bpr_loss(*inputs, *batch(9))
    (grad,) = torch.autograd.grad(loss, inputs[:1], create_graph=True)
    with pytest.raises(RuntimeError, match=r"^bpr_loss: must be differentiated once"):
        torch.autograd.grad(grad.square().sum(), inputs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_repeated_in_long_batches_sum_all_their_gradients(dtype):
    size = 30_000
    inputs, ids = tables(5, dtype), batch(size)
    ids[0][: size // 2] = 7
    ids[1][: size // 3] = 11
    ids[2][size // 4 :] = 11
    upstream = torch.randn(size)
    exact = [table.detach().double().requires_grad_() for table in inputs]
    ours, twin, truth = (
        value_and_gradients(operator, args, ids, "none", upstream)
        for operator, args in (
            (bpr_loss, inputs),
            (reference.bpr_loss, inputs),
            (reference.bpr_loss, exact),
        )
    )
    for a, b, c in zip(ours, twin, truth, strict=True):
        assert_error_budget(a, b, c, 100 * epsilon(dtype) * float(c.detach().abs().max()))


def test_parts_of_one_table_get_their_gradients():
    table = torch.randn(100, 8, dtype=torch.float64, requires_grad=True)
    ids = batch()
    ours, expected = (
        torch.autograd.grad(operator(*table.split([USERS, ITEMS]), *ids), table)[0]
        for operator in (bpr_loss, reference.bpr_loss)
    )
    torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("d", [1, 8, 33])
def test_users_and_items_may_be_rows_of_one_table(d, dtype):
    # Ids overlap, so that rows collect gradients in all three roles.
    ids = [torch.randint(0, 20, (5000,)) for _ in range(3)]
    upstream = torch.randn(5000)
    table = torch.randn(25, d, dtype=dtype, requires_grad=True)
    exact = table.detach().double().requires_grad_()
    results = []
    twin = reference.bpr_loss
    for operator, x in ((bpr_loss, table), (twin, table), (twin, exact)):
        losses = operator(x, None, *ids, "none")
        results.append([losses, *torch.autograd.grad(losses, x, upstream.to(x.dtype))])
    assert same_bits(results[0][0], bpr_loss(table, table, *ids, "none"))
    for a, b, c in zip(*results, strict=True):
        assert_error_budget(a, b, c, 50 * epsilon(dtype) * float(c.detach().abs().max()))
    assert not results[0][1][20:].any()


def test_one_table_is_differentiated_like_finite_differences():
    table = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    ids = [torch.randint(0, 6, (9,)) for _ in range(3)]
    assert torch.autograd.gradcheck(lambda x: bpr_loss(x, None, *ids), table)


def test_rows_outside_the_batch_get_zero_gradients():
    inputs = tables(4, torch.float32)
    ids = [torch.tensor([3]), torch.tensor([5]), torch.tensor([6])]
    grads = torch.autograd.grad(bpr_loss(*inputs, *ids), inputs)
    assert grads[0].any(dim=1).nonzero().flatten().tolist() == [3]
    assert grads[1].any(dim=1).nonzero().flatten().tolist() == [5, 6]


def test_equal_positives_and_negatives_give_log_2_and_no_item_gradient():
    inputs = tables(6, torch.float64)
    ids = [torch.arange(10), torch.arange(10), torch.arange(10)]
    loss = bpr_loss(*inputs, *ids)
    torch.testing.assert_close(loss, torch.tensor(2.0, dtype=torch.float64).log())
    grads = torch.autograd.grad(loss, inputs)
    assert all(grad.abs().max() < 1e-15 for grad in grads)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_huge_margins_neither_overflow_nor_vanish(dtype):
    values = torch.tensor([1e4, 200.0, 90.0, 20.0, 1e-4, 0.0], dtype=dtype)
    item = torch.cat([values, -values]).unsqueeze(1)
    user = torch.ones(1, 1, dtype=dtype, requires_grad=True)
    zero = torch.zeros(1, 1, dtype=dtype)
    ids = [
        torch.zeros(12, dtype=torch.int64),
        torch.full((12,), 12),
        torch.arange(12),
    ]
    losses = bpr_loss(user, torch.cat([item, zero]), *ids, "none")
    margins = item.flatten().double()
    expected = margins.clamp(min=0) + (-margins.abs()).exp().log1p()
    # Below the smallest normal number, precision ends gradually.
    torch.testing.assert_close(
        losses.double(), expected, rtol=4 * epsilon(dtype), atol=torch.finfo(dtype).tiny
    )
    (grad,) = torch.autograd.grad(losses[:6].sum(), user)
    expected = (margins[:6].sigmoid() * margins[:6]).sum().view(1, 1)
    torch.testing.assert_close(grad.double(), expected)


def test_nan_and_infinity_are_passed_on():
    user = torch.tensor([[1.0], [torch.nan]])
    item = torch.tensor([[torch.inf], [1.0]])
    ids = [torch.tensor([0, 0, 1, 0]), torch.tensor([0, 1, 1, 1]), torch.tensor([1, 0, 1, 1])]
    losses = bpr_loss(user, item, *ids, "none")
    assert losses[:2].tolist() == [0.0, torch.inf]
    assert losses[2].isnan()
    assert losses[3] == reference.bpr_loss(user, item, *[i[3:] for i in ids])
    assert bpr_loss(user, item, *ids).isnan()


def test_an_empty_batch_gives_what_pytorch_gives():
    inputs = tables(4, torch.float32)
    ids = batch(0)
    assert bpr_loss(*inputs, *ids).isnan()
    assert bpr_loss(*inputs, *ids, "sum").item() == 0.0
    assert bpr_loss(*inputs, *ids, "none").shape == (0,)
    for grad in torch.autograd.grad(bpr_loss(*inputs, *ids, "sum"), inputs):
        assert not grad.any()


def test_empty_tables_and_no_columns_pass():
    none = torch.zeros(0, dtype=torch.int64)
    assert bpr_loss(torch.zeros(0, 3), torch.zeros(0, 3), none, none, none, "sum").item() == 0.0
    inputs = [torch.zeros(n, 0, requires_grad=True) for n in (USERS, ITEMS)]
    loss = bpr_loss(*inputs, *batch())
    assert loss.item() == pytest.approx(0.6931472)
    assert [grad.shape for grad in torch.autograd.grad(loss, inputs)] == [(40, 0), (60, 0)]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_tables_give_float32_losses_and_their_own_gradients(dtype):
    inputs, ids = tables(16, dtype), batch()
    loss = bpr_loss(*inputs, *ids)
    assert loss.dtype == torch.float32
    assert same_bits(loss, bpr_loss(*[table.float() for table in inputs], *ids))
    assert [grad.dtype for grad in torch.autograd.grad(loss, inputs)] == [dtype, dtype]


def test_strides_and_index_types_do_not_matter():
    wide = torch.randn(2 * ITEMS, 2 * 9 + 1)
    ids = batch()
    views = [wide[::2, :9], wide[:ITEMS, ::2][:, :9], wide[0, :9].expand(ITEMS, 9)]
    strided_ids = [torch.stack([i, i], dim=1)[:, 1] for i in ids]
    for items in views:
        users = torch.randn(9, USERS).T
        expected = bpr_loss(users.contiguous(), items.contiguous(), *ids, "none")
        assert same_bits(bpr_loss(users, items, *ids, "none"), expected)
        assert same_bits(bpr_loss(users, items, *strided_ids, "none"), expected)
        assert same_bits(bpr_loss(users, items, *[i.int() for i in ids], "none"), expected)


def test_upstream_gradients_may_be_expanded():
    inputs, ids = tables(7, torch.float32), batch()
    losses = bpr_loss(*inputs, *ids, "none")
    for grad in (torch.full((), 0.3).expand(200), torch.randn(200, 2)[:, 0]):
        ours = torch.autograd.grad(losses, inputs, grad, retain_graph=True)
        expected = torch.autograd.grad(losses, inputs, grad.contiguous(), retain_graph=True)
        assert all(same_bits(a, b) for a, b in zip(ours, expected, strict=True))


@pytest.mark.parametrize("asked", [(True, False), (False, True)])
def test_only_the_gradients_asked_for_are_produced(asked):
    inputs = [
        torch.randn(n, 4, requires_grad=want) for n, want in zip((USERS, ITEMS), asked, strict=True)
    ]
    bpr_loss(*inputs, *batch()).backward()
    assert [table.grad is not None for table in inputs] == list(asked)
    assert not bpr_loss(*[table.detach() for table in inputs], *batch()).requires_grad
