from __future__ import annotations

from math import comb

import numpy as np
import pytest
import torch

from rlmrec_fast import analysis


def cosines(table: np.ndarray) -> np.ndarray:
    table = table.astype(np.float64)
    table = table / np.linalg.norm(table, axis=1, keepdims=True)
    return table @ table.T


def brute_force(text: np.ndarray, table: np.ndarray, k: int) -> np.ndarray:
    values = []
    near = []
    for space in (text, table):
        scores = cosines(space)
        np.fill_diagonal(scores, -np.inf)
        near.append(np.argsort(-scores, axis=1, kind="stable")[:, :k])
    for mine, theirs in zip(*near, strict=True):
        shared = len(set(mine) & set(theirs))
        values.append(shared / (2 * k - shared))
    return np.array(values)


@pytest.fixture(scope="module")
def spaces() -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Texts, a table that leans on them and one that does not."""
    rng = np.random.default_rng(0)
    text = rng.normal(size=(90, 12))
    near = text[:, :6] + 0.5 * rng.normal(size=(90, 6))
    return text, {"near": near, "free": rng.normal(size=(90, 5))}


def test_every_index_is_that_of_brute_force(spaces):
    text, tables = spaces
    found = analysis.overlap(text, tables, ks=(20, 3, 7))
    assert found.ks == (3, 7, 20)
    assert found.k == 20
    for at, table in enumerate(tables.values()):
        for place, k in enumerate(found.ks):
            expected = brute_force(text, table, k)
            np.testing.assert_array_equal(found.jaccard[at, place], expected)
            assert found.mean[at, place] == expected.mean()


def test_a_space_agrees_with_itself_and_chance_is_what_independent_spaces_have():
    rng = np.random.default_rng(1)
    text = rng.normal(size=(400, 64)).astype(np.float32)
    # Many dimensions: in few, some rows are neighbours of everything.
    free = [rng.normal(size=(400, 64)).astype(np.float32) for _ in range(8)]
    found = analysis.overlap(
        text, {"same": 3 * text, **{f"free {at}": table for at, table in enumerate(free)}}, ks=(50,)
    )
    assert found.estimate("same") == (1.0, 1.0, 1.0)
    assert found.mean[1:, 0].mean() == pytest.approx(found.chance[0], rel=0.03)


def test_chance_is_the_mean_over_all_pairs_of_sets():
    # Hypergeometric: of 9 others, 4 and 4.
    ways = {s: comb(4, s) * comb(5, 4 - s) for s in range(5)}
    expected = sum(count * s / (8 - s) for s, count in ways.items()) / comb(9, 4)
    assert analysis.chance_overlap(9, 4) == pytest.approx(expected, rel=1e-12)
    assert analysis.chance_overlap(4, 4) == pytest.approx(1)
    assert analysis.chance_overlap(4, 9) == pytest.approx(1)
    assert analysis.chance_overlap(9331, 100) == pytest.approx(0.00539, rel=0.01)


def test_the_interval_is_that_of_the_mean_and_of_the_ratio(spaces):
    text, tables = spaces
    found = analysis.overlap(text, tables, ks=(10,), confidence=0.95, resamples=4000)
    for name in tables:
        value, low, high = found.estimate(name)
        error = found.jaccard[found.names.index(name), 0].std() / np.sqrt(90)
        assert low < value < high
        assert (high - low) / 2 == pytest.approx(1.96 * error, rel=0.1)
    gain = found.gain("near", "free")
    assert gain.value == found.mean[0, 0] / found.mean[1, 0] - 1
    assert gain.low < gain.value < gain.high
    assert found.gain("near", "near") == (0.0, 0.0, 0.0)
    again = analysis.overlap(text, tables, ks=(10,), resamples=4000)
    np.testing.assert_array_equal(found.low, again.low)
    other = analysis.overlap(text, tables, ks=(10,), resamples=4000, seed=1)
    assert (found.low != other.low).any()


def test_the_cdf_is_smooth_and_near_the_steps_that_the_histogram_counts(spaces):
    text, tables = spaces
    found = analysis.overlap(text, tables, ks=(20,))
    x, y = found.cdf()
    assert (np.diff(y, axis=1) >= 0).all()
    np.testing.assert_allclose(y[:, [0, -1]], [[0, 1], [0, 1]], atol=1e-6)
    steps = (found.jaccard[:, 0, :, None] <= x).mean(axis=1)
    assert np.abs(y - steps).mean() < 0.02
    edges, shares = found.histogram(bins=6)
    assert edges[0] == 0
    assert edges[-2] < found.jaccard.max() < edges[-1]
    assert shares.shape[1] <= 6
    for row, values in zip(shares, found.jaccard[:, 0], strict=True):
        np.testing.assert_allclose(row * 90, np.histogram(values, edges)[0])
    # Every bin holds as many of the values that an index can have.
    possible = np.arange(len(edges) * 20) / np.maximum(40 - np.arange(len(edges) * 20), 1e-9)
    held = np.histogram(possible[:21], edges[edges < 1])[0]
    assert len(set(held)) == 1


def test_the_curves_of_identical_and_of_disjoint_spaces_end_where_they_must():
    table = np.eye(6)
    rolled = np.eye(6)
    found = analysis.overlap(np.r_[table, table], {"same": np.r_[rolled, rolled]}, ks=(1,))
    x, y = found.cdf()
    assert y[0, 0] == 0
    assert y[0, -1] == pytest.approx(1)
    assert y[0, x < 0.99].max() < 1e-6
    assert found.histogram().y[0, -1] == 1


def test_fewer_rows_than_k_are_said(spaces):
    text, tables = spaces
    found = analysis.overlap(text[:8], {"near": tables["near"][:8]}, ks=(3, 10, 100))
    assert found.ks == (3, 7)
    assert found.notes == ("K was reduced to 7: of 8 rows each has no more neighbours.",)
    assert found.mean[0, 1] == found.chance[1] == 1


def test_tensors_and_half_precision_are_taken(spaces):
    text, tables = spaces
    half = torch.from_numpy(text).half()
    found = analysis.overlap(half, {"near": torch.from_numpy(tables["near"]).bfloat16()}, ks=(5,))
    same = analysis.overlap(
        half.float().numpy(), {"near": torch.from_numpy(tables["near"]).bfloat16().float()}, ks=(5,)
    )
    np.testing.assert_array_equal(found.jaccard, same.jaccard)


def broken(table: np.ndarray) -> np.ndarray:
    table = table.copy()
    table[4, 1] = np.nan
    return table


@pytest.mark.parametrize("function", [analysis.overlap, analysis.trend])
def test_tables_that_cannot_be_compared_are_refused_by_name(function, spaces):
    text, tables = spaces
    near = tables["near"]
    name = function.__name__
    for arguments, error, message in (
        ((text, {}), ValueError, r"tables must name at least one table \(got none\)"),
        ((text, {"a": near[:80]}), ValueError, r"tables\['a'\] must have 90 rows .* \(got 80\)"),
        ((text, {"a": broken(near)}), ValueError, r"tables\['a'\] must be finite .* in row 4"),
        ((broken(text), {"a": near}), ValueError, r"text must be finite .*1 rows, first in row 4"),
        ((text[:1], {"a": near[:1]}), ValueError, r"text must have at least two rows \(got 1\)"),
        ((text, {"a": near[0]}), ValueError, r"tables\['a'\] must have shape \[n, d\] \(got \(6,"),
        ((text, {"a": near.astype(int)}), TypeError, r"tables\['a'\] must be of floats \(got int"),
        ((text, {"a": [[1.0]]}), TypeError, r"tables\['a'\] must be a table \(got list\)"),
    ):
        with pytest.raises(error, match=rf"^{name}: {message}"):
            function(*arguments)


def test_numbers_out_of_range_are_refused_by_name(spaces):
    for words, message in (
        ({"ks": ()}, r"ks must be at least 1 \(got \(\)\)"),
        ({"ks": (5, 0)}, r"ks must be at least 1 \(got \(5, 0\)\)"),
        ({"confidence": 1.0}, r"confidence must be in \(0, 1\) \(got 1.0\)"),
        ({"resamples": 0}, r"resamples must be at least 1 \(got 0\)"),
    ):
        with pytest.raises(ValueError, match=rf"^overlap: {message}"):
            analysis.overlap(*spaces, **words)
    found = analysis.overlap(*spaces, ks=(5,))
    with pytest.raises(ValueError, match=r"k must be one of \(5,\) \(got 6\)"):
        found.cdf(6)
    with pytest.raises(ValueError, match=r"name must be one of near, free \(got 'far'\)"):
        found.estimate("far")
