from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from rlmrec_fast import analysis


@pytest.fixture(scope="module")
def spaces() -> tuple[np.ndarray, dict[str, np.ndarray]]:
    rng = np.random.default_rng(2)
    text = rng.normal(size=(70, 4))
    return text, {
        "near": text + 0.7 * rng.normal(size=(70, 4)),
        "free": rng.normal(size=(70, 3)),
    }


def pairs(table: np.ndarray) -> np.ndarray:
    unit = table / np.linalg.norm(table, axis=1, keepdims=True)
    return (unit @ unit.T)[np.triu_indices(len(table), 1)]


def test_bins_slope_and_ranks_are_those_of_brute_force(spaces):
    text, tables = spaces
    found = analysis.trend(text, tables, bins=30)
    x = pairs(text)
    place = np.minimum(((x + 1) * 15).astype(int), 29)
    assert found.pairs.tolist() == np.bincount(place, minlength=30).tolist()
    assert found.pairs.sum() == 70 * 69 // 2
    for at, table in enumerate(tables.values()):
        y = pairs(table)
        for bin_ in range(30):
            mine = y[place == bin_]
            if len(mine):
                assert found.mean[at, bin_] == pytest.approx(mine.mean(), rel=1e-12, abs=1e-12)
            else:
                assert np.isnan(found.mean[at, bin_])
        assert found.slope[at].value == pytest.approx(stats.linregress(x, y).slope, rel=1e-10)
        assert found.spearman[at] == pytest.approx(stats.spearmanr(x, y).statistic, rel=1e-10)
        assert found.overall[at] == pytest.approx(y.mean(), rel=1e-10)
    assert found.basis == "all 2,415 pairs"
    assert (found.rows, found.total_rows, found.ranked) == (70, 70, 2415)


def test_identical_spaces_lie_on_the_diagonal_and_independent_ones_are_flat(spaces):
    text, tables = spaces
    found = analysis.trend(text, {"same": 2 * text, "free": tables["free"]}, bins=20)
    filled = found.pairs > 0
    assert np.abs(found.mean[0] - found.centers)[filled].max() <= 0.05
    assert found.slope[0] == pytest.approx((1, 1, 1))
    assert found.spearman[0] == pytest.approx(1)
    low, high = found.slope[1][1:]
    assert low < 0 < high


def test_the_intervals_hold_what_they_promise():
    """Slopes of independent spaces: nineteen of twenty intervals hold zero, about."""
    rng = np.random.default_rng(3)
    held = 0
    for _ in range(100):
        text, table = rng.normal(size=(2, 40, 8))
        _, low, high = analysis.trend(text, {"free": table}).slope[0]
        held += low < 0 < high
    assert 88 <= held <= 100


def test_more_pairs_than_fit_are_a_seeded_sample_and_said(spaces):
    text, tables = spaces
    found = analysis.trend(text, tables, max_pairs=200, seed=5)
    assert found.rows == 20
    assert found.pairs.sum() == 190
    assert found.basis == "190 pairs, among a seeded sample of 20 of 70"
    again = analysis.trend(text, tables, max_pairs=200, seed=5)
    np.testing.assert_array_equal(found.mean, again.mean)
    other = analysis.trend(text, tables, max_pairs=200, seed=6)
    assert found.slope != other.slope


def test_ranks_of_many_pairs_are_a_sample_of_them(spaces):
    text, tables = spaces
    whole = analysis.trend(text, tables)
    found = analysis.trend(text, tables, max_ranked=1500)
    assert 1200 < found.ranked <= 1500
    assert found.basis == f"all 2,415 pairs; ranks of {found.ranked:,} of them"
    np.testing.assert_allclose(found.spearman, whole.spearman, atol=0.05)
    np.testing.assert_array_equal(found.mean, whole.mean)


@pytest.mark.parametrize("rows", [2, 3, 21])
def test_few_rows_are_enough(rows, spaces):
    text, tables = spaces
    found = analysis.trend(text[:rows], {"near": tables["near"][:rows]})
    assert found.pairs.sum() == rows * (rows - 1) // 2


def test_a_constant_table_has_no_correlation():
    table = np.ones((5, 3))
    found = analysis.trend(np.random.default_rng(0).normal(size=(5, 3)), {"flat": table})
    assert np.isnan(found.spearman[0])
    assert found.slope[0].value == pytest.approx(0, abs=1e-12)
    assert np.isnan(analysis.trend(table, {"flat": table}).slope[0].value)


def test_numbers_out_of_range_are_refused_by_name(spaces):
    for words, message in (
        ({"bins": 0}, "bins must be at least 1"),
        ({"max_pairs": 0}, "max_pairs must be at least 1"),
        ({"max_ranked": 0}, "max_ranked must be at least 1"),
        ({"confidence": 0}, r"confidence must be in \(0, 1\)"),
    ):
        with pytest.raises(ValueError, match=rf"^trend: {message} \(got"):
            analysis.trend(*spaces, **words)
