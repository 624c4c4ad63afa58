from __future__ import annotations

import pytest
import torch
from helpers import epsilon, same_bits
from torch import Tensor

from rlmrec_fast.ops import rank, reference

WIDTHS = (1, 3, 8, 16, 31, 32, 33, 64, 100, 128, 150)


def whole_numbers(rows: int, d: int, dtype: torch.dtype, high: int = 3) -> Tensor:
    """Small whole numbers: scores are exact in any order of addition, and many are equal."""
    return torch.randint(-high, high + 1, (rows, d)).to(dtype)


def exclusions(num_users: int, num_items: int, rate: float = 0.3) -> tuple[Tensor, Tensor]:
    """Sorted rows of random items; every tenth user excludes none, every eleventh all."""
    mask = torch.rand(num_users, num_items) < rate
    mask[::10] = False
    mask[::11] = True
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), mask.sum(1).cumsum(0)])
    return offsets, mask.nonzero()[:, 1].int()


def assert_ranks_like_the_reference(
    users: Tensor, items: Tensor, k: int, exclude: tuple[Tensor, Tensor] | None = None
) -> None:
    ours, expected = rank(users, items, k, exclude), reference.rank(users, items, k, exclude)
    assert ours[0].dtype == torch.int64
    assert torch.equal(ours[0], expected[0])
    assert ours[1].dtype == expected[1].dtype
    assert torch.equal(ours[1], expected[1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("d", WIDTHS)
def test_rankings_with_ties_are_exactly_those_of_the_reference(d, dtype):
    users, items = whole_numbers(37, d, dtype), whole_numbers(101, d, dtype)
    exclude = exclusions(37, 101)
    for k in (1, 5, 20, 101, 130):
        assert_ranks_like_the_reference(users, items, k)
        assert_ranks_like_the_reference(users, items, k, exclude)


@pytest.mark.parametrize(
    ("num_users", "num_items"), [(1, 1), (1, 700), (65, 1), (64, 33), (13, 16)]
)
def test_sizes_around_the_tiles_are_ranked_exactly(num_users, num_items):
    users, items = (whole_numbers(n, 6, torch.float32) for n in (num_users, num_items))
    for k in (1, 3, 20):
        for exclude in (None, exclusions(num_users, num_items)):
            assert_ranks_like_the_reference(users, items, k, exclude)


def test_many_users_and_several_tiles_of_items_are_ranked_exactly():
    users, items = (whole_numbers(n, 64, torch.float32, high=2) for n in (300, 5000))
    exclude = exclusions(300, 5000, rate=0.02)
    for k in (20, 400):
        assert_ranks_like_the_reference(users, items, k, exclude)


def test_items_that_keep_getting_better_are_all_considered():
    # Every item beats the ones before, so every candidate list overflows again and again.
    items = torch.arange(3000, dtype=torch.float32).unsqueeze(1)
    users = torch.tensor([[1.0], [-1.0], [0.0]])
    best, scores = rank(users, items, 4)
    assert best.tolist() == [[2999, 2998, 2997, 2996], [0, 1, 2, 3], [0, 1, 2, 3]]
    assert scores[:2].tolist() == [[2999.0, 2998.0, 2997.0, 2996.0], [0.0, -1.0, -2.0, -3.0]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_scores_stay_in_the_error_budget_and_select_the_best_items(dtype):
    users, items = torch.randn(50, 40, dtype=dtype), torch.randn(300, 40, dtype=dtype)
    best, scores = rank(users, items, 10)
    exact = users.double() @ items.double().T
    magnitude = users.double().abs() @ items.double().abs().T
    error = (scores.double() - exact.gather(1, best)).abs()
    tolerance = 6 * epsilon(dtype) * magnitude
    assert (error <= tolerance.gather(1, best)).all()
    assert (scores[:, 1:] <= scores[:, :-1]).all()
    left_out = exact.scatter(1, best, -torch.inf).max(1).values
    assert (left_out <= scores[:, -1].double() + tolerance.max()).all()


def test_equal_scores_are_ordered_by_lower_item():
    users, items = torch.ones(70, 3), torch.ones(200, 3)
    best, scores = rank(users, items, 30)
    assert torch.equal(best, torch.arange(30).expand(70, 30))
    assert (scores == 3).all()
    negative_zero = rank(torch.tensor([[1.0]]), torch.tensor([[0.0], [-0.0], [0.0]]), 3)[0]
    assert negative_zero.tolist() == [[0, 1, 2]]


def test_excluded_items_are_never_returned():
    users, items = torch.randn(90, 8), torch.randn(400, 8)
    offsets, excluded = exclusions(90, 400)
    best, scores = rank(users, items, 50, (offsets, excluded))
    for user in range(90):
        own = set(excluded[offsets[user] : offsets[user + 1]].tolist())
        assert own.isdisjoint(best[user].tolist())
        left = 400 - len(own)
        assert (best[user] >= 0).sum() == min(left, 50)
        assert torch.equal(best[user] < 0, scores[user] == -torch.inf)


def test_nothing_is_left_when_all_items_are_excluded():
    exclude = (torch.tensor([0, 3, 3]), torch.tensor([0, 1, 2], dtype=torch.int32))
    best, scores = rank(torch.ones(2, 2), torch.ones(3, 2), 2, exclude)
    assert best.tolist() == [[-1, -1], [0, 1]]
    assert scores[0].tolist() == [-torch.inf, -torch.inf]


def test_items_with_nan_or_minus_infinity_scores_are_never_returned():
    items = torch.randn(100, 4)
    items[10, 0] = torch.nan
    items[20, 1] = torch.inf
    items[30, 2] = -torch.inf
    users = torch.randn(3, 4).abs() + 0.1
    users[2, 3] = torch.nan
    best, scores = rank(users, items, 100)
    expected = reference.rank(users, items, 100)
    assert (best[:2, 0] == 20).all()
    assert (scores[:2, 0] == torch.inf).all()
    assert not {10, 30} & set(best.flatten().tolist())
    assert (best[2] == -1).all()
    assert torch.equal(best == -1, expected[0] == -1)


def test_no_users_no_items_and_no_columns_pass():
    assert rank(torch.zeros(0, 3), torch.zeros(5, 3), 4)[0].shape == (0, 4)
    best, scores = rank(torch.zeros(2, 3), torch.zeros(0, 3), 4)
    assert best.tolist() == [[-1] * 4] * 2
    assert (scores == -torch.inf).all()
    assert rank(torch.zeros(2, 0), torch.zeros(5, 0), 3)[0].tolist() == [[0, 1, 2]] * 2


def test_strides_and_types_of_tables_and_rows_do_not_matter():
    wide = torch.randn(300, 19)
    offsets, excluded = exclusions(50, 100)
    users = wide[:50, :9]
    for items in (wide[100::2, 3:12], torch.randn(9, 100).T, wide[:1, :9].expand(100, 9)):
        expected = rank(users.contiguous(), items.contiguous(), 7, (offsets, excluded))
        ours = rank(users, items, 7, (offsets.int(), excluded.long()))
        assert all(same_bits(a, b) for a, b in zip(ours, expected, strict=True))
    for dtype in (torch.bfloat16, torch.float16):
        tables = [wide[:50].to(dtype), wide[100:].to(dtype)]
        ours = rank(*tables, 7)
        expected = rank(*[table.float() for table in tables], 7)
        assert ours[1].dtype == torch.float32
        assert all(same_bits(a, b) for a, b in zip(ours, expected, strict=True))


def test_tables_with_gradients_give_a_ranking_without():
    users, items = (torch.randn(n, 3, requires_grad=True) for n in (4, 5))
    assert not any(result.requires_grad for result in rank(users, items, 2))


def test_a_score_does_not_depend_on_the_other_users_and_items():
    users, items = torch.randn(130, 33), torch.randn(500, 33)
    best, scores = rank(users, items, 500)
    some_best, some_scores = rank(users[77:78], items[:211], 211)
    all_scores = torch.empty(130, 500).scatter(1, best, scores)
    some = torch.empty(1, 211).scatter(1, some_best, some_scores)
    assert same_bits(all_scores[77:78, :211], some)
