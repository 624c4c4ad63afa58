from __future__ import annotations

import itertools

import numpy as np
import polars as pl
import pytest

from rlmrec_fast.data.splits import Split, split_counts
from rlmrec_fast.graph import split_per_user


def make_pairs(users: int = 30, items: int = 50, seed: int = 0, times: bool = True) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    rows, columns = np.nonzero(rng.random((users, items)) < rng.random((users, 1)))
    frame = pl.DataFrame({"user": rows.astype(np.int32), "item": columns.astype(np.int32)})
    if times:
        frame = frame.with_columns(pl.Series("time", rng.permutation(len(rows)).astype(float)))
    return frame


@pytest.mark.parametrize("ratios", [(3, 1, 1), (8, 1, 1), (1, 0, 1), (1, 1, 1), (0.6, 0.2, 0.2)])
def test_counts_are_those_of_the_random_split(ratios):
    for count in range(1, 60):
        users, items = np.zeros(count, np.int64), np.arange(count)
        labels = split_per_user(users, items, 1, count, ratios=ratios, seed=1)
        native = np.bincount(labels, minlength=3)
        own = np.array(split_counts(count, ratios))
        assert own.sum() == count
        shares = count * np.array(ratios) / sum(ratios)
        # Equal fractions are decided at random there.
        ties = len(set(np.round(shares - np.floor(shares), 9))) < 3
        assert (own == native).all() or (ties and (abs(own - native) <= 1).all())


def test_by_time_every_part_is_later_than_the_one_before():
    pairs = make_pairs()
    labels = Split("time").labels(pairs, (30, 50))
    for user in range(30):
        mine = (pairs["user"] == user).to_numpy()
        times = pairs["time"].to_numpy()[mine]
        parts = [times[labels[mine] == part] for part in range(3)]
        assert tuple(len(part) for part in parts) == split_counts(int(mine.sum()), (3, 1, 1))
        filled = [part for part in parts if len(part)]
        for earlier, later in itertools.pairwise(filled):
            assert earlier.max() < later.min()


@pytest.mark.parametrize("times", [False, True])
def test_leave_one_out_takes_the_last_two(times):
    pairs = make_pairs(times=times)
    labels = Split("leave-one-out").labels(pairs, (30, 50))
    for user in range(30):
        mine = (pairs["user"] == user).to_numpy()
        own = labels[mine]
        count = int(mine.sum())
        expected = [max(count - 2, min(count, 1)), int(count >= 3), int(count >= 2)]
        assert np.bincount(own, minlength=3).tolist() == expected
        if times and count >= 3:
            order = own[np.argsort(pairs["time"].to_numpy()[mine])]
            assert order.tolist() == [0] * (count - 2) + [1, 2]


@pytest.mark.parametrize("method", ["random", "time", "leave-one-out"])
@pytest.mark.parametrize("times", ["distinct", "equal"])
def test_the_order_of_the_rows_does_not_matter(method, times):
    pairs = make_pairs()
    if times == "equal":
        pairs = pairs.with_columns(time=pl.lit(5.0))
    split = Split(method, seed=4)
    labelled = pairs.with_columns(pl.Series("label", split.labels(pairs, (30, 50))))
    mixed = pairs.sample(fraction=1, shuffle=True, seed=1)
    again = mixed.with_columns(pl.Series("label", split.labels(mixed, (30, 50))))
    assert again.sort("user", "item").equals(labelled.sort("user", "item"))
    assert labelled["label"].n_unique() == 3


def test_the_seed_decides_what_is_left_to_chance():
    pairs = make_pairs(times=False)
    first, second = (Split("leave-one-out", seed=n).labels(pairs, (30, 50)) for n in (1, 2))
    assert (first != second).any()
    assert Split("leave-one-out", seed=1).labels(pairs, (30, 50)).tolist() == first.tolist()


def test_at_random_it_is_the_native_split():
    pairs = make_pairs(times=False)
    users, items = (pairs[side].to_numpy().astype(np.int64) for side in ("user", "item"))
    expected = split_per_user(users, items, 30, 50, ratios=(8, 1, 1), seed=9)
    assert Split("random", (8, 1, 1), 9).labels(pairs, (30, 50)).tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("coin",), "split must be one of random, time, leave-one-out \\(got 'coin'\\)"),
        (("random", (3, 1)), "ratios must be three numbers.*got 3:1"),
        (("random", (0, 1, 1)), "the first above 0 \\(got 0:1:1"),
        (("random", (3, -1, 1)), "at least 0.*got 3:-1:1"),
        (("random", (3, float("nan"), 1)), "ratios must be three numbers"),
        (("random", (3, 1, 1), -1), "seed must be in"),
    ],
)
def test_wrong_splits_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Split(*arguments)


def test_a_split_by_time_needs_times():
    with pytest.raises(ValueError, match="needs a column with times"):
        Split("time").labels(make_pairs(times=False), (30, 50))
