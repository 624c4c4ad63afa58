from __future__ import annotations

import pytest
import torch
from helpers import same_bits

from rlmrec_fast.ops import distinct, reference


@pytest.mark.parametrize("count", [0, 1, 31, 4096])
@pytest.mark.parametrize("size", [1, 2, 40, 100_000])
@pytest.mark.parametrize("padded", [False, True])
def test_distinct_ids_are_those_of_the_reference(count, size, padded):
    ids = torch.randint(size, (count,))
    ours, theirs = distinct(ids, size, padded), reference.distinct(ids, size, padded)
    for name in ours._fields:
        assert same_bits(getattr(ours, name), getattr(theirs, name)), name
        assert getattr(ours, name).dtype == torch.int64
    assert torch.equal(ours.rows[ours.places], ids)
    assert int(ours.counts.sum()) == count


def test_padded_results_repeat_the_last_id_without_counting_it():
    found = distinct(torch.tensor([5, 2, 5, 2]), 6, padded=True)
    assert found.rows.tolist() == [2, 5, 5, 5]
    assert found.places.tolist() == [1, 0, 1, 0]
    assert found.counts.tolist() == [2, 2, 0, 0]
    # No longer than the table.
    assert distinct(torch.tensor([1, 1, 1]), 2, padded=True).rows.tolist() == [1, 1]


def test_the_ends_of_the_table_and_narrow_ids_are_fine():
    found = distinct(torch.tensor([9, 0, 9], dtype=torch.int32), 10)
    assert found.rows.tolist() == [0, 9]
    assert found.places.tolist() == [1, 0, 1]
    assert found.counts.tolist() == [1, 2]


def test_no_ids_of_an_empty_table_are_none():
    found = distinct(torch.tensor([], dtype=torch.long), 0)
    assert [len(part) for part in found] == [0, 0, 0]


def test_a_strided_list_is_read_right():
    ids = torch.tensor([[3, 1], [0, 2], [3, 1]])[:, 0]
    assert distinct(ids, 4).rows.tolist() == [0, 3]
