from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from rlmrec_fast.data import Dataset, summarize, synthesize

SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def world() -> Dataset:
    return synthesize(600, 300, 9000, seed=1)


def digest(dataset: Dataset) -> str:
    state = hashlib.sha256()
    for split in SPLITS:
        state.update(getattr(dataset, split).indices.tobytes())
        state.update(getattr(dataset, split).indptr.tobytes())
    for vectors in (dataset.user_vectors, dataset.item_vectors):
        assert vectors is not None
        state.update(vectors.tobytes())
    for table in (dataset.users, dataset.items):
        assert table is not None
        state.update(table.write_csv().encode())
    return state.hexdigest()


@pytest.mark.parametrize(
    ("users", "items", "interactions"),
    [
        (1, 5, 5),  # the smallest
        (3, 7, 21),  # everybody chose everything
        (40, 30, 1100),  # nearly everything
        (200, 1000, 1000),  # the least for each
        (50, 5, 250),
        (70, 90, 1234),
    ],
)
def test_every_count_is_met_and_every_user_is_split(
    users: int, items: int, interactions: int
) -> None:
    dataset = synthesize(users, items, interactions, seed=4)
    summary = summarize(dataset)
    assert (dataset.num_users, dataset.num_items) == (users, items)
    assert summary["interactions"]["total"] == interactions
    assert set(summary["overlap"].values()) == {0}
    assert set(summary["users"]["without"].values()) == {0}
    assert summary["users"]["degrees"]["min"] >= 3


def test_splits_are_three_to_one_to_one(world: Dataset) -> None:
    per_user = [np.diff(getattr(world, split).indptr) for split in SPLITS]
    total = np.sum(per_user, axis=0)
    for held_out in per_user[1:]:
        assert np.abs(held_out - total / 5).max() <= 0.5


def test_items_are_chosen_with_a_long_tail(world: Dataset) -> None:
    degrees = np.sort(np.bincount(world.train.indices, minlength=300))[::-1]
    # With equal chances the first tenth would have 14 %.
    assert degrees[:30].sum() > 0.2 * degrees.sum()
    assert np.median(degrees) < degrees.mean()


def test_users_differ_in_activity(world: Dataset) -> None:
    degrees = np.diff(world.train.indptr)
    assert degrees.max() > 3 * np.median(degrees)


def test_texts_know_what_users_will_choose(world: Dataset) -> None:
    assert world.user_vectors is not None
    assert world.item_vectors is not None
    users, items = world.test.nonzero()
    cosine = world.user_vectors @ world.item_vectors.T
    chosen = cosine[users, items].mean()
    # Against equally popular items that others chose.
    others = cosine[users, np.random.default_rng(0).permutation(items)].mean()
    assert chosen > others + 0.15


def test_vectors_are_normalised_floats(world: Dataset) -> None:
    for vectors in (world.user_vectors, world.item_vectors):
        assert vectors is not None
        assert vectors.dtype == np.float32
        assert vectors.shape[1] == 64
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)


def test_the_size_of_vectors_is_bounded_by_the_texts() -> None:
    dataset = synthesize(1, 5, 5, dim=1000)
    assert dataset.item_vectors is not None
    assert dataset.item_vectors.shape[1] <= 6
    assert synthesize(20, 10, 100, dim=3).user_vectors.shape == (20, 3)  # type: ignore[union-attr]


def test_texts_are_sentences_about_the_item(world: Dataset) -> None:
    assert world.items is not None
    assert world.users is not None
    for title, profile in world.items.select("title", "profile").iter_rows():
        assert profile.startswith(f"{title} is a ")
        assert profile.endswith(".")
    assert world.users["profile"].str.starts_with("Most of all this reader enjoys a ").all()
    assert world.users["id"][3] == "user-3"


def test_the_seed_decides_everything() -> None:
    first, again, other = (synthesize(60, 40, 700, seed=seed) for seed in (5, 5, 6))
    assert digest(first) == digest(again)
    assert digest(first) != digest(other)


def test_every_seed_of_the_range_is_taken() -> None:
    assert digest(synthesize(5, 9, 30, seed=0)) != digest(synthesize(5, 9, 30, seed=2**63 - 1))


def test_blocks_of_users_do_not_change_the_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlmrec_fast.data.synthetic._BLOCK_INTERACTIONS", 100)
    dataset = synthesize(60, 40, 1500, seed=5)
    assert summarize(dataset)["interactions"]["total"] == 1500


@pytest.mark.parametrize("threads", ["1", "2"])
def test_the_number_of_threads_changes_no_bit(threads: str) -> None:
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS")
    code = (
        "from test_synthetic import digest; from rlmrec_fast.data import synthesize;"
        "print(digest(synthesize(600, 300, 9000, seed=1)))"
    )
    environment = {**os.environ, **dict.fromkeys(names, threads)}
    environment["PYTHONPATH"] = os.pathsep.join([os.path.dirname(__file__), *sys.path])
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == digest(synthesize(600, 300, 9000, seed=1))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"users": 0}, ValueError, r"users must be in \[1, .*\(got 0\)"),
        ({"users": -3}, ValueError, "users must be"),
        ({"items": 4}, ValueError, r"items must be in \[5, "),
        ({"interactions": 49}, ValueError, r"interactions must be in \[50, 200\] \(got 49\)"),
        ({"interactions": 201}, ValueError, r"interactions must be in \[50, 200\] \(got 201\)"),
        ({"interactions": -1}, ValueError, "interactions must be"),
        ({"seed": -1}, ValueError, "seed must be"),
        ({"seed": 2**63}, ValueError, "seed must be"),
        ({"dim": 0}, ValueError, "dim must be"),
        ({"users": 10.0}, TypeError, "users must be an integer"),
        ({"users": True}, TypeError, "users must be an integer"),
        ({"items": "20"}, TypeError, "items must be an integer"),
    ],
)
def test_impossible_arguments_are_refused_by_name(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"synthesize: {message}"):
        synthesize(**{"users": 10, "items": 20, "interactions": 100, **arguments})


def test_numpy_integers_are_taken() -> None:
    assert synthesize(np.int64(5), np.int32(9), np.uint8(30)).num_users == 5  # type: ignore[arg-type]
