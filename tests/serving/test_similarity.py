from __future__ import annotations

import pytest
import torch

from rlmrec_fast import ops
from rlmrec_fast.serving import similarity
from rlmrec_fast.serving.similarity import similar


def test_similar_items_are_the_neighbours(monkeypatch):
    table = torch.randn(60, 5, generator=torch.Generator().manual_seed(1))
    table[7] = 0
    monkeypatch.setattr(similarity, "BLOCK", 16)
    blocks = list(similar(table, range(60), 9))
    found = torch.cat([torch.from_numpy(block.items) for block in blocks])
    assert found.tolist() == ops.neighbors(table, 9).tolist()
    scores = torch.cat([torch.from_numpy(block.scores) for block in blocks])
    cosines = torch.nn.functional.cosine_similarity(
        table[:, None].double(), table[found].double(), dim=2
    )
    assert scores.double().allclose(cosines, atol=1e-6)


def test_items_come_back_in_the_order_asked():
    table = torch.randn(10, 3, generator=torch.Generator().manual_seed(1)).half()
    (block,) = similar(table, [7, 2, 7], 20)
    assert block.users == [7, 2, 7]
    assert (block.items[:, 9:] == -1).all()
    assert all(user not in items for user, items in zip(block.users, block.items, strict=True))


@pytest.mark.parametrize(
    ("items", "k", "message"),
    [([1], 0, "k must be at least 1"), ([10], 1, r"item must be in \[0, 10\) \(got 10\)")],
)
def test_wrong_arguments_are_refused(items, k, message):
    with pytest.raises(ValueError, match=message):
        list(similar(torch.ones(10, 3), items, k))


def test_a_table_that_is_not_finite_is_refused():
    table = torch.ones(10, 3)
    table[3, 1] = torch.nan
    with pytest.raises(ValueError, match="table must be finite"):
        list(similar(table, [1], 1))
