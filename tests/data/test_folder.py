from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from rlmrec_fast.data import Dataset, DatasetError, folder
from rlmrec_fast.data import vectors as vectors_module


@pytest.fixture
def saved(dataset: Dataset, tmp_path: Path) -> Path:
    path = tmp_path / "saved"
    dataset.save(path)
    return path


def edit(path: Path, **changes: Any) -> None:
    content = json.loads((path / "dataset.json").read_text())
    (path / "dataset.json").write_text(json.dumps({**content, **changes}))


def same(first: Dataset, second: Dataset) -> None:
    assert (first.name, first.source) == (second.name, second.source)
    for split in ("train", "validation", "test"):
        assert (getattr(first, split) != getattr(second, split)).nnz == 0
    for name in ("user_vectors", "item_vectors"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
        assert getattr(first, name).dtype == getattr(second, name).dtype
    assert first.users is not None
    assert first.items is not None
    assert first.users.equals(second.users)
    assert first.items.equals(second.items)


def test_a_data_set_is_loaded_as_it_was_saved(dataset: Dataset, saved: Path) -> None:
    loaded = Dataset.load(saved)
    same(loaded, dataset)
    assert isinstance(loaded.user_vectors, np.memmap)


def test_optional_parts_may_be_missing(dataset: Dataset, tmp_path: Path) -> None:
    bare = Dataset("bare", dataset.train, dataset.validation, dataset.test, items=dataset.items)
    bare.save(tmp_path / "bare")
    assert sorted(os.listdir(tmp_path / "bare")) == [
        "dataset.json",
        "items.parquet",
        "test.npz",
        "train.npz",
        "validation.npz",
    ]
    loaded = Dataset.load(tmp_path / "bare")
    assert loaded.user_vectors is None
    assert loaded.users is None
    assert loaded.items is not None


def test_the_same_data_gives_the_same_bytes(dataset: Dataset, saved: Path, tmp_path: Path) -> None:
    dataset.save(tmp_path / "again")
    for file in saved.iterdir():
        assert file.read_bytes() == (tmp_path / "again" / file.name).read_bytes(), file.name


def test_no_file_is_a_pickle(saved: Path) -> None:
    for file in saved.glob("*.npy"):
        np.load(file, allow_pickle=False)
    assert not list(saved.glob("*.pkl"))


def test_an_existing_folder_is_kept_unless_overwriting_is_asked_for(
    dataset: Dataset, saved: Path
) -> None:
    other = replace(dataset, name="other")
    with pytest.raises(FileExistsError, match="must not exist"):
        other.save(saved)
    assert Dataset.load(saved).name == "small"
    other.save(saved, overwrite=True)
    assert Dataset.load(saved).name == "other"
    assert os.listdir(saved.parent) == ["saved"]


def test_only_a_data_set_is_ever_overwritten(dataset: Dataset, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "thesis.txt").write_text("years of work")
    with pytest.raises(FileExistsError, match=r"only a folder with dataset\.json"):
        dataset.save(home, overwrite=True)
    with pytest.raises(FileExistsError):
        dataset.save(home / "thesis.txt", overwrite=True)
    assert (home / "thesis.txt").read_text() == "years of work"


def test_an_empty_folder_and_missing_parents_are_filled(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    dataset.save(tmp_path / "empty")
    dataset.save(tmp_path / "a" / "b")
    assert Dataset.load(tmp_path / "empty").name == Dataset.load(tmp_path / "a" / "b").name


def test_a_link_to_a_data_set_stays_a_link(dataset: Dataset, saved: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(saved)
    replace(dataset, name="other").save(link, overwrite=True)
    assert link.is_symlink()
    assert Dataset.load(saved).name == "other"


def test_a_data_set_may_be_saved_over_the_folder_that_it_is_mapped_from(saved: Path) -> None:
    loaded = Dataset.load(saved)
    loaded.save(saved, overwrite=True)
    same(Dataset.load(saved), loaded)


@pytest.mark.parametrize("step", ["write_table", "write_matrix", "_put_in_place"])
def test_a_failure_leaves_the_old_folder_and_nothing_else(
    dataset: Dataset, saved: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(folder, step, fail)
    with pytest.raises(OSError, match="disk full"):
        replace(dataset, name="other").save(saved, overwrite=True)
    assert Dataset.load(saved).name == "small"
    assert os.listdir(saved.parent) == ["saved"]


def test_a_failed_rename_puts_the_old_folder_back(
    dataset: Dataset, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = os.replace

    def fail_on_the_new(source: Path, target: Path) -> None:
        if str(source).endswith(".new"):
            raise OSError("no")
        rename(source, target)

    monkeypatch.setattr(os, "replace", fail_on_the_new)
    with pytest.raises(OSError, match="no"):
        replace(dataset, name="other").save(saved, overwrite=True)
    assert Dataset.load(saved).name == "small"
    assert os.listdir(saved.parent) == ["saved"]


def test_large_vectors_are_checked_when_saved(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rlmrec_fast.data.dataset.CHEAP_BYTES", 0)
    assert vectors_module.CHEAP_BYTES > 0
    broken = replace(dataset, user_vectors=np.full((3, 2), np.inf))
    with pytest.raises(ValueError, match="user_vectors must be finite"):
        broken.save(tmp_path / "broken")
    assert not (tmp_path / "broken").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": 2}, "at most 1; a newer rlmrec_fast wrote this data set .got 2"),
        ({"format_version": 99, "files": 0}, "at most 1"),
        ({"format_version": None}, "format_version must be 1"),
        ({"format_version": "1"}, "format_version must be 1"),
        ({"name": ""}, "name must be valid"),
        ({"num_users": -1}, "num_users must be valid"),
        ({"num_users": 4}, "num_users and num_items must be the sizes of train.npz"),
        ({"files": {}}, "must hold test.npz, train.npz, validation.npz|must be listed"),
        ({"files": {"../x": {"shape": [1, 1]}}}, "files must be of .* .got ../x"),
        ({"files": {"train.npz": {"shape": [1]}}}, "files.train.npz.shape.1 must be valid"),
        ({"extra": 1}, "extra must be valid"),
    ],
)
def test_a_wrong_manifest_is_refused_by_field(
    saved: Path, changes: dict[str, Any], message: str
) -> None:
    edit(saved, **changes)
    with pytest.raises(DatasetError, match=message):
        Dataset.load(saved)


@pytest.mark.parametrize("content", ["", "{", "[1]", "null", "\ufeff{}", "[" * 100_000])
def test_a_manifest_that_is_no_object_is_refused(saved: Path, content: str) -> None:
    (saved / "dataset.json").write_text(content)
    with pytest.raises(DatasetError, match=r"dataset\.json: "):
        Dataset.load(saved)


@pytest.mark.parametrize("name", ["train.npz", "test.npz", "item_vectors.npy", "users.parquet"])
def test_a_missing_or_damaged_file_is_named(saved: Path, name: str) -> None:
    content = (saved / name).read_bytes()
    (saved / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(DatasetError, match=f"{name}: must be a whole"):
        Dataset.load(saved)
    (saved / name).unlink()
    with pytest.raises(DatasetError, match=f"must hold {name} .got dataset.json"):
        Dataset.load(saved)


def test_a_file_of_another_shape_or_type_is_named(dataset: Dataset, saved: Path) -> None:
    np.save(saved / "user_vectors.npy", np.ones((3, 6), np.float32))
    with pytest.raises(DatasetError, match=r"user_vectors\.npy: must be as dataset\.json says"):
        Dataset.load(saved)
    assert dataset.user_vectors is not None
    np.save(saved / "user_vectors.npy", dataset.user_vectors.astype(np.float64))
    with pytest.raises(DatasetError, match=r"float32 \(got shape \(3, 5\), float64\)"):
        Dataset.load(saved)


def test_a_matrix_with_another_number_of_interactions_is_named(saved: Path) -> None:
    sp.save_npz(saved / "train.npz", sp.csr_array(np.eye(3, 4, dtype=np.float32)))
    with pytest.raises(DatasetError, match=r"train\.npz: .*4 interactions \(got .*3 interactions"):
        Dataset.load(saved)


def test_a_file_that_the_manifest_does_not_list_is_named(dataset: Dataset, tmp_path: Path) -> None:
    replace(dataset, item_vectors=None).save(tmp_path / "d")
    np.save(tmp_path / "d" / "item_vectors.npy", np.ones((4, 2)))
    with pytest.raises(DatasetError, match=r"must be listed .*got item_vectors\.npy"):
        Dataset.load(tmp_path / "d")


def test_vectors_with_nan_on_disk_are_named(saved: Path) -> None:
    np.save(saved / "user_vectors.npy", np.full((3, 5), np.nan, np.float32))
    with pytest.raises(DatasetError, match="user_vectors must be finite"):
        Dataset.load(saved)


def test_notes_stay_while_the_interactions_do(dataset: Dataset, tmp_path: Path) -> None:
    folder.write_folder(dataset, tmp_path / "data", False, {"prepare.json": "{}"})
    replace(dataset, user_vectors=None, item_vectors=None).save(tmp_path / "data", overwrite=True)
    assert (tmp_path / "data" / "prepare.json").read_text() == "{}"
    replace(dataset, train=dataset.test).save(tmp_path / "data", overwrite=True)
    assert not (tmp_path / "data" / "prepare.json").exists()
