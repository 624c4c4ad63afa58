"""Saving and loading an InteractionGraph."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from graph_checks import SIZES, assert_same, make_pairs

from rlmrec_fast.graph import InteractionGraph


@pytest.fixture
def pairs() -> tuple[np.ndarray, np.ndarray]:
    return make_pairs()


@pytest.mark.parametrize("self_loops", [False, True])
def test_a_saved_graph_loads_as_it_was(pairs, self_loops, tmp_path):
    graph = InteractionGraph.from_pairs(*pairs, *SIZES, self_loops=self_loops)
    path = tmp_path / "graph"
    path.write_text("old")
    graph.save(path)
    assert_same(InteractionGraph.load(path), graph)
    assert os.listdir(tmp_path) == ["graph"]


def test_a_failed_save_leaves_the_old_file(pairs, tmp_path, monkeypatch):
    path = tmp_path / "graph.npz"
    path.write_text("old")

    def fail(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(OSError, match="disk full"):
        InteractionGraph.from_pairs(*pairs, *SIZES).save(path)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["graph.npz"]


def good_fields() -> dict[str, object]:
    return {
        "format": 1,
        "num_users": 2,
        "num_items": 3,
        "self_loops": False,
        "offsets": np.array([0, 2, 3]),
        "items": np.array([0, 2, 1], np.int32),
    }


def save_fields(path: Path, changes: dict[str, object]) -> None:
    fields = {name: v for name, v in (good_fields() | changes).items() if v is not None}
    np.savez(path, **fields)


def test_the_documented_fields_make_a_graph(tmp_path):
    save_fields(tmp_path / "g.npz", {})
    expected = InteractionGraph.from_pairs([0, 0, 1], [0, 2, 1], 2, 3)
    assert_same(InteractionGraph.load(tmp_path / "g.npz"), expected)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"format": 2}, "format 2, not 1"),
        ({"format": None}, "format"),
        ({"items": None}, "items"),
        ({"num_users": 3}, r"num_users \+ 1 = 4"),
        ({"num_users": -1}, "num_users must be positive"),
        ({"num_users": 2**63}, "num_users must fit in 64 bits"),
        ({"num_items": 2}, r"columns must be in \[0, 2\) \(got 2 at position 1\)"),
        ({"num_items": [1, 2]}, "only"),
        ({"num_items": 2**31}, "must be below 2147483648"),
        ({"offsets": np.array([0, 2, 3], np.int32)}, "offsets must be an array of int64"),
        ({"offsets": np.array([0, 4, 3])}, "offsets must not decrease"),
        ({"offsets": np.array([0, 2, 4])}, "offsets must end at the number of columns"),
        ({"offsets": np.array([1, 2, 3])}, "offsets must start at 0"),
        ({"offsets": np.array([[0, 2, 3]])}, "offsets must be one-dimensional"),
        ({"items": np.array([0, 2, 1])}, "columns must be an array of int32"),
        ({"items": np.array([0, -2, 1], np.int32)}, "columns must be in"),
        ({"items": np.array([2, 0, 1], np.int32)}, "columns must increase inside every row"),
        ({"items": np.array([1, 1, 1], np.int32)}, "columns must increase inside every row"),
        ({"items": np.array([0, "x", 1], object)}, "allow_pickle"),
    ],
)
def test_a_file_that_cannot_be_a_graph_is_refused(changes, reason, tmp_path):
    path = tmp_path / "g.npz"
    save_fields(path, changes)
    with pytest.raises(ValueError, match=rf"^InteractionGraph: .*g\.npz must be .*{reason}"):
        InteractionGraph.load(path)


def test_a_file_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "g.npz"
    with pytest.raises(FileNotFoundError):
        InteractionGraph.load(path)
    for content in (b"", b"PK\x03\x04", b"no graph", pickle.dumps([1])):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="must be a graph written by save"):
            InteractionGraph.load(path)
    with path.open("wb") as file:
        np.save(file, np.arange(3))
    with pytest.raises(ValueError, match="must be a graph written by save"):
        InteractionGraph.load(path)


def test_a_damaged_file_is_refused_or_still_a_whole_graph(pairs, tmp_path):
    InteractionGraph.from_pairs(*pairs, *SIZES).save(tmp_path / "good")
    good = (tmp_path / "good").read_bytes()
    path = tmp_path / "bad"
    rng = np.random.default_rng(5)
    refused = 0
    for round_ in range(300):
        data = bytearray(good)
        if round_ % 3 == 0:
            del data[int(rng.integers(len(data))) :]
        for position in rng.integers(0, len(data), 3) if data else ():
            data[position] = rng.integers(256)
        path.write_bytes(data)
        try:
            graph = InteractionGraph.load(path)
        except ValueError:
            refused += 1
        else:
            users, items = graph.interactions()
            rebuilt = InteractionGraph.from_pairs(
                users, items, graph.num_users, graph.num_items, graph.self_loops
            )
            assert_same(rebuilt, graph)
    assert refused > 100


def test_a_header_that_promises_too_much_is_refused(tmp_path):
    path = tmp_path / "g.npz"
    save_fields(path, {"items": None})
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<i4", "fortran_order": False, "shape": (10**15,)}
    )
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("items.npy", header.getvalue())
    with pytest.raises(ValueError, match="must be a graph written by save"):
        InteractionGraph.load(path)
