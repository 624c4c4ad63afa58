from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp

from rlmrec_fast.data import Dataset

EYE = sp.csr_array(np.eye(3, 4))


def test_sizes_come_from_the_matrices(dataset: Dataset) -> None:
    assert (dataset.num_users, dataset.num_items) == (3, 4)
    assert repr(dataset) == "Dataset('small', users=3, items=4, train=4, validation=2, test=3)"


def test_matrices_of_any_form_are_brought_into_one() -> None:
    dataset = Dataset("d", sp.coo_matrix(np.eye(3, 4) * 5), sp.lil_array((3, 4)), EYE.tocsc())
    for matrix in (dataset.train, dataset.validation, dataset.test):
        assert type(matrix) is sp.csr_array
        assert matrix.dtype == np.float32
    assert dataset.train.data.tolist() == [1, 1, 1]


def test_a_data_set_cannot_be_changed(dataset: Dataset) -> None:
    with pytest.raises(FrozenInstanceError):
        dataset.name = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"name": " "}, ValueError, "name must not be empty"),
        ({"train": [[1]]}, TypeError, "train must be a sparse matrix"),
        ({"validation": sp.csr_array((3, 5))}, ValueError, "validation must have the shape of tr"),
        ({"test": sp.csr_array((4, 4))}, ValueError, r"test must have .* \(got \(4, 4\)\)"),
        ({"user_vectors": np.ones((4, 2))}, ValueError, r"user_vectors must have shape \(3, t\)"),
        ({"item_vectors": np.ones((3, 2))}, ValueError, r"item_vectors must have shape \(4, t\)"),
        ({"item_vectors": np.full((4, 2), np.nan)}, ValueError, "item_vectors must be finite"),
        ({"users": pl.DataFrame({"id": ["a"]})}, ValueError, "users must have 3 rows"),
        ({"items": pl.DataFrame({"id": ["a"]})}, ValueError, "items must have 4 rows"),
    ],
)
def test_parts_that_disagree_are_refused_by_name(
    dataset: Dataset, change: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        replace(dataset, **change)


def test_overlapping_splits_are_taken() -> None:
    assert Dataset("d", EYE, EYE, EYE).test.nnz == 3


def test_a_place_that_holds_no_data_set_is_told_with_what_it_holds(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nothing there"):
        Dataset.load(tmp_path / "none")
    (tmp_path / "val_mat.pkl").touch()
    with pytest.raises(FileNotFoundError, match="a file"):
        Dataset.load(tmp_path / "val_mat.pkl")
    with pytest.raises(FileNotFoundError, match=r"dataset\.json.*trn_mat\.pkl.*got val_mat\.pkl"):
        Dataset.load(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="got an empty folder"):
        Dataset.load(tmp_path / "empty")


def test_rlmrecs_folder_is_loaded_directly(rlmrec_folder: Path) -> None:
    dataset = Dataset.load(str(rlmrec_folder))
    assert repr(dataset) == "Dataset('books', users=3, items=4, train=4, validation=2, test=3)"
