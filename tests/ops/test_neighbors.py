from __future__ import annotations

import pytest
import torch

from rlmrec_fast.ops import neighbor_overlap, neighbors, reference


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("rows", "d"), [(1, 3), (2, 1), (37, 5), (130, 32), (300, 64)])
def test_neighbours_are_those_of_the_reference_in_float64(rows, d, dtype):
    table = torch.randn(rows, d, dtype=dtype)
    for k in (1, 10, rows, rows + 3):
        expected = reference.neighbors(table.double(), k)
        ours = neighbors(table, k)
        differing = (ours != expected).any(dim=1).double().mean()
        # float32 cannot tell every pair of nearly equal cosines apart.
        assert differing <= (0.05 if dtype == torch.float32 else 0)


def test_ties_go_to_the_lower_row_and_rows_never_to_themselves():
    table = torch.tensor([[1.0, 0], [2, 0], [0, 0], [3, 0], [-1, 0]])
    expected = [[1, 3, 2, 4], [0, 3, 2, 4], [0, 1, 3, 4], [0, 1, 2, 4], [2, 0, 1, 3]]
    assert neighbors(table, 4).tolist() == expected
    assert neighbors(table, 6)[0].tolist() == [1, 3, 2, 4, -1, -1]


def test_length_does_not_matter_even_where_its_square_overflows_or_vanishes():
    table = torch.randn(50, 8)
    scaled = table * torch.tensor([1e-30, 1.0, 1e30]).repeat(17)[:50, None]
    assert torch.equal(neighbors(scaled, 5), neighbors(table, 5))


def test_tables_in_16_bits_are_read_as_float32():
    table = torch.randn(40, 16).bfloat16()
    assert torch.equal(neighbors(table, 5), neighbors(table.float(), 5))


def test_tables_without_rows_or_columns_have_no_neighbours_or_any():
    assert neighbors(torch.zeros(0, 4), 3).shape == (0, 3)
    assert neighbors(torch.zeros(3, 0), 2).tolist() == [[1, 2], [0, 2], [0, 1]]


def test_overlap_is_that_of_the_reference():
    first = torch.stack([torch.randperm(30)[:8] for _ in range(50)])
    second = torch.stack([torch.randperm(30)[:12] for _ in range(50)])
    second[::3, 5:] = -1
    second[0] = -1
    overlap = neighbor_overlap(first, second)
    assert overlap.dtype == torch.float64
    assert torch.equal(overlap, reference.neighbor_overlap(first, second))
    assert 0 < overlap.mean() < 1


def test_equal_neighbourhoods_overlap_wholly_and_empty_ones_too():
    ids = torch.tensor([[4, 2], [7, -1], [-1, -1]])
    assert neighbor_overlap(ids, ids.flip(1)).tolist() == [1, 1, 1]
    assert neighbor_overlap(ids, torch.full_like(ids, -1)).tolist() == [0, 0, 1]
    assert neighbor_overlap(ids[:0], ids[:0]).tolist() == []


def test_independent_neighbourhoods_overlap_by_chance():
    rows, k = 400, 20
    chance = k / (2 * (rows - 1) - k)  # expected intersection k^2 / (n - 1), and its union
    overlap = neighbor_overlap(*(neighbors(torch.randn(rows, 16), k) for _ in range(2))).mean()
    assert abs(overlap - chance) < 0.3 * chance
