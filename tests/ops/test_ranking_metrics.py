from __future__ import annotations

import math
from itertools import chain

import pytest
import torch

from rlmrec_fast.ops import rank, ranking_metrics, reference


def rows(*lists: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    lengths = torch.tensor([0, *map(len, lists)])
    return lengths.cumsum(0), torch.tensor([*chain(*lists)], dtype=torch.int32)


def test_an_example_worked_by_hand():
    items = torch.tensor([[7, 3, 9, 1, 4], [0, 2, 5, 6, 8], [1, 2, 3, 4, 5]])
    held_out = rows([1, 3, 6], [], [1])
    recall, ndcg = ranking_metrics(items, held_out, cutoffs=(1, 2, 5))
    # User 0 hits at places 1 and 3 of 3 held-out items, user 1 does not count, user 2 hits at 0.
    gain = [1 / math.log2(place + 2) for place in range(5)]
    first = [0, gain[1] / (gain[0] + gain[1]), (gain[1] + gain[3]) / sum(gain[:3])]
    assert recall.tolist() == pytest.approx([(0 + 1) / 2, (1 / 3 + 1) / 2, (2 / 3 + 1) / 2])
    assert ndcg.tolist() == pytest.approx([(value + 1) / 2 for value in first])
    # log2(3) = 1.584963, log2(5) = 2.321928: (0.630930 + 0.430677) / 2.130930 = 0.498190
    assert ndcg[2].item() == pytest.approx((0.4981896 + 1) / 2, abs=1e-6)
    assert recall.dtype == ndcg.dtype == torch.float64


def test_a_perfect_ranking_scores_one_even_with_few_held_out_items():
    items = torch.arange(20).expand(4, 20)
    recall, ndcg = ranking_metrics(items, rows([0], [0, 1], [0, 1, 2], list(range(5))))
    assert recall.tolist() == pytest.approx([1.0, 1.0, 1.0])
    assert ndcg.tolist() == pytest.approx([1.0, 1.0, 1.0])


def test_more_held_out_items_than_places_limit_recall_but_not_ndcg():
    recall, ndcg = ranking_metrics(torch.tensor([[0, 1]]), rows([0, 1, 2, 3]), cutoffs=[2])
    assert recall.tolist() == [0.5]
    assert ndcg.tolist() == pytest.approx([1.0])


@pytest.mark.parametrize("num_users", [1, 63, 300])
def test_metrics_are_those_of_the_reference(num_users):
    users, table = torch.randn(num_users, 4), torch.randn(90, 4)
    items, _ = rank(users, table, 25)
    mask = torch.rand(num_users, 90) < 0.1
    mask[1::7] = False
    mask[0] = True
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), mask.sum(1).cumsum(0)])
    held_out = offsets, mask.nonzero()[:, 1].int()
    for cutoffs in ((5, 10, 20), (1,), (25, 3, 3)):
        ours = ranking_metrics(items, held_out, cutoffs)
        expected = reference.ranking_metrics(items, held_out, cutoffs)
        torch.testing.assert_close(ours.recall, expected.recall, rtol=1e-13, atol=0.0)
        torch.testing.assert_close(ours.ndcg, expected.ndcg, rtol=1e-13, atol=0.0)


def test_places_without_an_item_are_no_hits():
    items = torch.tensor([[3, -1, -1], [-1, -1, -1]])
    recall, ndcg = ranking_metrics(items, rows([0, 3], [0]), cutoffs=(3,))
    assert recall.tolist() == [0.25]
    assert 0 < ndcg.item() < 0.5


def test_no_held_out_items_at_all_give_nan():
    for items, held_out in (
        (torch.zeros(2, 5, dtype=torch.int64), rows([], [])),
        (torch.zeros(0, 5, dtype=torch.int64), rows()),
    ):
        recall, ndcg = ranking_metrics(items, held_out, cutoffs=(5, 2))
        assert recall.isnan().tolist() == ndcg.isnan().tolist() == [True, True]


def test_types_and_strides_of_the_arguments_do_not_matter():
    items = torch.stack([torch.randperm(30) for _ in range(8)])
    held_out = rows(*[[i, i + 5, i + 9] for i in range(8)])
    expected = ranking_metrics(items, held_out)
    ours = ranking_metrics(items.T.contiguous().T, (held_out[0].int(), held_out[1].long()))
    assert torch.equal(ours.recall, expected.recall)
    assert torch.equal(ours.ndcg, expected.ndcg)
