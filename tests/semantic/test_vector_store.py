from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rlmrec_fast.semantic.vector_store import VectorStore

ONE = np.ones((2, 3), np.float32)


def open_store(folder: Path, dtype: str = "float32", **identity: str) -> VectorStore:
    return VectorStore(folder / "table.npy", 5, dtype, identity)


def test_blocks_fill_a_mapped_table_and_the_rest_is_zero(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.put(0, np.array([4, 1]), ONE * [[1], [2]])
        assert store.done == {0}
    with open_store(tmp_path) as store:
        assert store.done == {0}
        store.put(3, np.array([0]), 3 * ONE[:1])
        table = store.read()
    assert isinstance(table, np.memmap)
    np.testing.assert_array_equal(table[:, 0], [3, 2, 0, 0, 1])
    with open_store(tmp_path) as store:
        assert store.done == {0, 3}


@pytest.mark.parametrize("changes", [{"dtype": "float16"}, {"encoder": "another"}])
def test_what_was_made_otherwise_is_thrown_away(tmp_path: Path, changes: dict[str, str]) -> None:
    with open_store(tmp_path) as store:
        store.put(0, np.array([4, 1]), ONE)
    with open_store(tmp_path, **changes) as store:
        assert store.done == set()
        store.put(1, np.array([2]), np.full((1, 7), 0.1))
        assert store.read().shape == (5, 7)
        np.testing.assert_array_equal(np.flatnonzero(store.read().any(axis=1)), [2])
        assert store.read().dtype == changes.get("dtype", "float32")


def test_a_lost_table_starts_anew(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.put(0, np.array([4, 1]), ONE)
    (tmp_path / "table.npy").unlink()
    with open_store(tmp_path) as store:
        assert store.done == set()


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (ONE[:, :2], r"2 vectors of size 3 \(got \(2, 2\)\)"),
        (ONE[:1], r"2 vectors of size 3 \(got \(1, 3\)\)"),
        (ONE * np.nan, "finite vectors"),
    ],
)
def test_wrong_vectors_are_refused_and_not_counted(tmp_path: Path, vectors, message: str) -> None:
    with open_store(tmp_path) as store:
        store.put(0, np.array([4, 1]), ONE)
        with pytest.raises(ValueError, match=message):
            store.put(1, np.array([2, 3]), vectors)
        assert store.done == {0}


def test_a_store_is_filled_by_one_process(tmp_path: Path) -> None:
    with open_store(tmp_path), pytest.raises(ValueError, match="another process"):
        open_store(tmp_path)
