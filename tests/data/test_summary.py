from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

from rlmrec_fast.data import Dataset, summarize


def test_a_small_data_set_is_counted_by_hand(dataset: Dataset) -> None:
    summary = summarize(dataset)
    assert summary["name"] == "small"
    assert summary["interactions"] == {"train": 4, "validation": 2, "test": 3, "total": 9}
    assert summary["density"] == pytest.approx(4 / 12)
    assert summary["overlap"] == {"train_validation": 0, "train_test": 0, "validation_test": 0}
    users, items = summary["users"], summary["items"]
    assert users["without"] == {"train": 0, "validation": 1, "test": 0}
    assert items["without"] == {"train": 0, "validation": 2, "test": 2}
    assert users["degrees"]["max"] == 2
    assert users["degrees"]["mean"] == pytest.approx(4 / 3)
    assert users["text"] == {
        "titles": 0,
        "profiles": 1,  # one is null and one is blank
        "vectors": {"dim": 5, "dtype": "float32", "zero_rows": 0, "non_finite_rows": 0},
    }
    assert items["text"]["titles"] == 3
    assert items["text"]["vectors"]["dtype"] == "float16"


def test_quantiles_are_degrees_that_occur() -> None:
    train = sp.coo_array(np.tril(np.ones((101, 101))))
    empty = sp.coo_array((101, 101))
    degrees = summarize(Dataset("triangle", train, empty, empty))["users"]["degrees"]
    assert [degrees[name] for name in ("min", "p25", "median", "p90", "max")] == [
        1,
        26,
        51,
        91,
        101,
    ]


def test_missing_texts_are_none_and_zero_rows_are_counted(dataset: Dataset) -> None:
    vectors = np.ones((4, 2), np.float32)
    vectors[[1, 3]] = 0
    summary = summarize(replace(dataset, users=None, user_vectors=None, item_vectors=vectors))
    assert summary["users"]["text"] == {"titles": None, "profiles": None, "vectors": None}
    assert summary["items"]["text"]["vectors"]["zero_rows"] == 2


def test_overlapping_splits_are_counted(dataset: Dataset) -> None:
    overlap = summarize(replace(dataset, validation=dataset.train))["overlap"]
    assert overlap == {"train_validation": 4, "train_test": 0, "validation_test": 0}


def test_a_data_set_without_interactions_is_described() -> None:
    empty = sp.coo_array((3, 2))
    summary = summarize(Dataset("empty", empty, empty, empty))
    assert summary["density"] == 0
    assert summary["users"]["without"]["train"] == 3


def test_the_summary_is_plain_json(dataset: Dataset) -> None:
    assert json.loads(json.dumps(summarize(dataset))) == summarize(dataset)
