"""k_core and split_per_user."""

from __future__ import annotations

import numpy as np
import pytest
from graph_checks import NAN, NUM_ITEMS, NUM_USERS, SIZES, make_pairs

from rlmrec_fast.graph import k_core, split_per_user


@pytest.fixture
def pairs() -> tuple[np.ndarray, np.ndarray]:
    return make_pairs()


def test_k_core_is_the_fixed_point_of_removing_low_degrees(pairs):
    users, items = pairs
    kept = k_core(users, items, *SIZES, 6, 10)
    expected = np.ones(len(users), bool)
    while True:
        matrix = np.zeros(SIZES, bool)
        matrix[users[expected], items[expected]] = True
        enough = (matrix.sum(1) >= 6)[users] & (matrix.sum(0) >= 10)[items] & expected
        if (enough == expected).all():
            break
        expected = enough
    assert kept.dtype == np.bool_
    assert 0 < kept.sum() < len(kept)
    np.testing.assert_array_equal(kept, expected)


def test_split_gives_each_user_near_its_share(pairs):
    users, items = pairs
    labels = split_per_user(users, items, *SIZES, seed=4)
    assert labels.dtype == np.int8
    for user in range(27):
        of = {i: label for u, i, label in zip(users, items, labels, strict=True) if u == user}
        counts = np.bincount(list(of.values()), minlength=3)
        assert (abs(counts - len(of) * np.array([0.6, 0.2, 0.2])) < 1.5).all()
        assert counts.min() >= 1 or len(of) < 3


def test_split_follows_the_seed_alone(pairs):
    users, items = pairs
    labels = split_per_user(users, items, *SIZES, seed=2**62)
    order = np.random.default_rng(2).permutation(len(users))
    again = split_per_user(
        users[order].tolist(), items[order].tolist(), NUM_USERS + 5, NUM_ITEMS + 5, seed=2**62
    )
    np.testing.assert_array_equal(again, labels[order])
    assert (split_per_user(users, items, *SIZES, seed=1) != labels).any()


def test_split_gives_nothing_to_a_ratio_of_0(pairs):
    assert set(split_per_user(*pairs, *SIZES, ratios=(4, 0, 1), seed=0).tolist()) == {0, 2}


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"seed": -1}, ValueError, r"seed must not be negative \(got -1\)"),
        ({"seed": 2**63}, ValueError, r"seed must fit in 64 bits"),
        ({"seed": 0.5}, TypeError, r"seed must be an integer \(got float\)"),
        ({"seed": 0, "ratios": (1, 2)}, TypeError, r"ratios must be three numbers"),
        ({"seed": 0, "ratios": "abc"}, TypeError, r"ratios must be three numbers"),
        ({"seed": 0, "ratios": (1, NAN, 1)}, ValueError, r"ratios must not be negative or NaN"),
        ({"seed": 0, "ratios": (0, 0, 0)}, ValueError, r"ratios must have a positive finite sum"),
    ],
)
def test_bad_splits_are_refused_by_name(arguments, error, message):
    with pytest.raises(error, match=f"^split_per_user: {message}"):
        split_per_user([0], [0], 1, 1, **arguments)


def test_k_core_and_split_name_themselves_when_they_refuse_ids():
    with pytest.raises(ValueError, match=r"^k_core: users must be in \[0, 1\) \(got 3 at"):
        k_core([3], [0], 1, 1, 1, 1)
    with pytest.raises(ValueError, match=r"^k_core: user_min must not be negative"):
        k_core([0], [0], 1, 1, -1, 1)
    with pytest.raises(ValueError, match=r"^split_per_user: items must be 64-bit integers"):
        split_per_user([0], [NAN], 1, 1, seed=0)
