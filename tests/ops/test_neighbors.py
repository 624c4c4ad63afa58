from __future__ import annotations

import pytest
import torch

from rlmrec_fast.ops import neighbor_overlap, neighbors, reference

SIZES = [(2, 1), (9, 300), (37, 5), (130, 32), (191, 64), (192, 7), (193, 33), (500, 150)]


def quarters(rows: int, d: int) -> torch.Tensor:
    """Rows with four elements of 1 or -1: their cosines are quarters, and many are equal."""
    places = torch.rand(rows, d).argsort(dim=1)[:, :4]
    return torch.zeros(rows, d).scatter_(1, places, torch.randint(2, (rows, 4)) * 2.0 - 1)


@pytest.mark.parametrize(("rows", "d"), SIZES)
def test_neighbours_are_exactly_those_of_the_reference(rows, d):
    table = torch.randn(rows, d)
    for k in (1, 10, rows - 1, rows, rows + 3):
        assert torch.equal(neighbors(table, k), reference.neighbors(table, k))
        double = table.double()
        assert torch.equal(neighbors(double, k), reference.neighbors(double, k))


def test_a_single_row_has_no_neighbours():
    for dtype in (torch.float32, torch.float64, torch.float16):
        assert neighbors(torch.ones(1, 3, dtype=dtype), 2).tolist() == [[-1, -1]]


def test_ties_go_to_the_lower_row_and_rows_never_to_themselves():
    table = torch.tensor([[1.0, 0], [2, 0], [0, 0], [3, 0], [-1, 0]])
    expected = [[1, 3, 2, 4], [0, 3, 2, 4], [0, 1, 3, 4], [0, 1, 2, 4], [2, 0, 1, 3]]
    assert neighbors(table, 4).tolist() == expected
    assert neighbors(table, 6)[0].tolist() == [1, 3, 2, 4, -1, -1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("d", [4, 6, 30])
def test_many_ties_are_settled_like_in_the_reference(d, dtype):
    table = quarters(700, d).to(dtype)
    for k in (1, 40, 300):
        assert torch.equal(neighbors(table, k), reference.neighbors(table, k))


def test_one_column_leaves_only_signs():
    table = torch.randn(900, 1)
    table[::50] = 0
    assert torch.equal(neighbors(table, 70), reference.neighbors(table, 70))


def test_proportional_rows_are_equally_near():
    table = torch.randn(20, 12)[torch.arange(600) % 20] * 2.0 ** torch.randint(-9, 9, (600, 1))
    found = neighbors(table, 29)
    for row in (0, 19, 317):
        assert found[row].tolist() == [same for same in range(row % 20, 600, 20) if same != row]


def test_rows_that_no_estimate_can_tell_apart_are_told_apart():
    # As far from each other as a few of the integers' steps, or less; with equal ones among them.
    spread = 10.0 ** torch.linspace(-5, -2, 800)[:, None]
    table = torch.randn(24) + spread * torch.randn(800, 24)
    table[::7] = table[3]
    for k in (5, 100, 500):
        assert torch.equal(neighbors(table, k), reference.neighbors(table, k))


def test_far_rows_hardly_disturb_the_near_ones():
    table = torch.ones(500, 40) + 1e-4 * torch.randn(500, 40)
    table[7], table[300] = -table[7], torch.randn(40)
    assert torch.equal(neighbors(table, 30), reference.neighbors(table, 30))


def test_zero_rows_have_similarity_zero_to_all():
    table = torch.randn(400, 10)
    table[3::5] = 0
    assert torch.equal(neighbors(table, 60), reference.neighbors(table, 60))
    assert neighbors(table, 3)[8].tolist() == [0, 1, 2]
    assert neighbors(torch.zeros(300, 2), 299)[299].tolist() == list(range(299))


def test_length_does_not_matter_even_where_its_square_overflows_or_vanishes():
    table = torch.randn(50, 8)
    scaled = table * torch.tensor([1e-30, 1.0, 1e30]).repeat(17)[:50, None]
    assert torch.equal(neighbors(scaled, 5), neighbors(table, 5))
    double = table.double()
    scaled = double * torch.tensor([1e-300, 1, 1e300], dtype=torch.float64).repeat(17)[:50, None]
    assert torch.equal(neighbors(scaled, 5), neighbors(double, 5))
    largest = torch.finfo(torch.float32).max * table.sign()
    assert torch.equal(neighbors(largest, 5), neighbors(table.sign(), 5))
    smallest = 1e-45 * table.sign()
    assert torch.equal(neighbors(smallest, 5), neighbors(table.sign(), 5))


def test_tables_in_16_bits_are_read_as_float32():
    for dtype in (torch.bfloat16, torch.float16):
        table = torch.randn(40, 16).to(dtype)
        assert torch.equal(neighbors(table, 5), neighbors(table.float(), 5))


def test_strides_do_not_matter_and_gradients_are_not_asked_for():
    table = torch.randn(300, 19, requires_grad=True)
    for part in (table[::2, 3:12], table.T, table[:1].expand(300, 19)):
        found = neighbors(part, 7)
        assert not found.requires_grad
        assert torch.equal(found, neighbors(part.detach().contiguous(), 7))


def test_tables_without_rows_or_columns_have_no_neighbours_or_any():
    assert neighbors(torch.zeros(0, 4), 3).shape == (0, 3)
    assert neighbors(torch.zeros(3, 0), 2).tolist() == [[1, 2], [0, 2], [0, 1]]
    assert neighbors(torch.zeros(1, 0), 2).tolist() == [[-1, -1]]


def test_the_first_row_that_is_not_finite_is_named():
    table = torch.randn(900, 5)
    table[800, 4], table[333, 0], table[600, 2] = torch.nan, torch.inf, -torch.inf
    for threads in (1, 3):
        torch.set_num_threads(threads)
        with pytest.raises(ValueError, match=r"^neighbors: table must be finite .*row 333\)"):
            neighbors(table, 2)


def test_overlap_is_that_of_the_reference():
    for k, m in ((8, 12), (1, 1), (30, 1), (0, 5), (0, 0)):
        first = torch.stack([torch.randperm(30)[:k] for _ in range(150)])
        second = torch.stack([torch.randperm(30)[:m] for _ in range(150)])
        second[::3, 5:] = -1
        second[0] = -1
        overlap = neighbor_overlap(first, second)
        assert overlap.dtype == torch.float64
        assert torch.equal(overlap, reference.neighbor_overlap(first, second))
        assert torch.equal(overlap, neighbor_overlap(second, first))
        assert (0 < overlap.mean() < 1) == (m > 0)


def test_overlap_of_any_numbers():
    first = torch.tensor([[2**62, 0, 2**63 - 1], [-1, -(2**63), -7]])
    second = torch.tensor([[2**63 - 1, -1, 5], [-9, 2**62, -1]])
    assert neighbor_overlap(first, second).tolist() == [0.25, 0]
    transposed = torch.arange(60).view(5, 12).T
    assert neighbor_overlap(transposed, transposed.contiguous()).tolist() == [1.0] * 12


def test_equal_neighbourhoods_overlap_wholly_and_empty_ones_too():
    ids = torch.tensor([[4, 2], [7, -1], [-1, -1]])
    assert neighbor_overlap(ids, ids.flip(1)).tolist() == [1, 1, 1]
    assert neighbor_overlap(ids, torch.full_like(ids, -1)).tolist() == [0, 0, 1]
    assert neighbor_overlap(ids[:0], ids[:0]).tolist() == []


def test_the_first_row_with_a_neighbour_named_twice_is_named():
    good = torch.stack([torch.randperm(50)[:9] for _ in range(400)])
    bad = good.clone()
    bad[377, 8] = bad[377, 0]
    bad[210, 2] = bad[210, 7]
    for arguments, name in (((bad, good), "first"), ((good, bad), "second"), ((bad, bad), "first")):
        with pytest.raises(
            ValueError, match=rf"^neighbor_overlap: {name} .* twice \(got row 210\)"
        ):
            neighbor_overlap(*arguments)


def test_independent_neighbourhoods_overlap_by_chance():
    rows, k = 400, 20
    chance = k / (2 * (rows - 1) - k)  # expected intersection k^2 / (n - 1), and its union
    overlap = neighbor_overlap(*(neighbors(torch.randn(rows, 16), k) for _ in range(2))).mean()
    assert abs(overlap - chance) < 0.3 * chance
