from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from small_data import TEST, TRAIN, VALIDATION

from rlmrec_fast.data import Dataset, DatasetError, read_rlmrec, summarize


def write(path: Path, value: Any) -> None:
    path.write_bytes(pickle.dumps(value))


def test_all_of_rlmrecs_pickles_are_read(rlmrec_folder: Path) -> None:
    dataset = read_rlmrec(rlmrec_folder)
    assert dataset.name == "books"
    np.testing.assert_array_equal(dataset.train.toarray(), TRAIN)
    np.testing.assert_array_equal(dataset.validation.toarray(), VALIDATION)
    np.testing.assert_array_equal(dataset.test.toarray(), TEST)
    assert dataset.user_vectors is not None
    np.testing.assert_array_equal(dataset.user_vectors, [[1, 2], [3, 4], [5, 6]])
    assert dataset.user_vectors.dtype == np.float32  # from float64, as RLMRec itself does
    assert dataset.users is not None
    assert dataset.users["id"].to_list() == ["0", "1", "2"]
    assert dataset.users["profile"].to_list() == ["reader 0", "reader 1", "reader 2"]
    assert dataset.items is not None
    assert dataset.items["profile"].to_list() == ["tea", None, None, "a pot"]


def test_matrices_alone_are_enough(rlmrec_folder: Path) -> None:
    for file in ("usr_emb_np", "itm_emb_np", "usr_prf", "itm_prf"):
        (rlmrec_folder / f"{file}.pkl").unlink()
    dataset = read_rlmrec(rlmrec_folder)
    assert dataset.user_vectors is None
    assert dataset.items is None


def test_vectors_and_texts_in_npy_and_csv_are_read(rlmrec_folder: Path) -> None:
    for file in ("usr_emb_np", "itm_emb_np", "usr_prf", "itm_prf"):
        (rlmrec_folder / f"{file}.pkl").unlink()
    np.save(rlmrec_folder / "item_embeddings.npy", np.ones((4, 3), np.float16))
    (rlmrec_folder / "item_profiles.csv").write_text(
        "item_id_int,item_id_raw,profile_text\n"
        '3,0007,"A pot, ""round"".\nFor tea."\n'
        "0,12,\n"
        "2,x,cups\n"
    )
    dataset = read_rlmrec(rlmrec_folder)
    assert isinstance(dataset.item_vectors, np.memmap)
    assert dataset.items is not None
    assert dataset.items.select("id", "title", "profile").rows() == [
        ("12", None, None),
        ("#1", None, None),
        ("x", None, "cups"),
        ("0007", None, 'A pot, "round".\nFor tea.'),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("item_id_int,item_id_raw,profile_text\n4,a,b\n", r"in \[0, 4\) \(got 4\)"),
        ("item_id_int,item_id_raw,profile_text\n-1,a,b\n", r"in \[0, 4\) \(got -1\)"),
        ("item_id_int,item_id_raw,profile_text\n1,a,b\n1,c,d\n", "unique .got 1 more than once"),
        ("item_id_int,item_id_raw,profile_text\none,a,b\n", "must be a CSV file"),
        ("item_id_int,profile_text\n1,b\n", "must be a CSV file with the columns item_id_int"),
        ("", "must be a CSV file"),
        ("item_id_int,item_id_raw,profile_text\n0,a,b\n1,a,d\n", "unique .got 'a'"),
    ],
)
def test_a_wrong_csv_file_is_named(rlmrec_folder: Path, content: str, message: str) -> None:
    (rlmrec_folder / "itm_prf.pkl").unlink()
    (rlmrec_folder / "item_profiles.csv").write_text(content)
    with pytest.raises(DatasetError, match=message):
        read_rlmrec(rlmrec_folder)


@pytest.mark.parametrize(
    ("file", "value", "message"),
    [
        ("trn_mat.pkl", np.eye(3), "trn_mat.pkl: must hold a scipy sparse matrix .got ndarray"),
        ("tst_mat.pkl", sp.coo_matrix((3, 5)), "test must have the shape of train"),
        ("val_mat.pkl", sp.coo_matrix(np.full((3, 4), np.nan)), "validation must hold finite"),
        ("usr_emb_np.pkl", [[1.0]], "usr_emb_np.pkl: must hold a numpy array of floats .got list"),
        ("usr_emb_np.pkl", np.ones((3, 2), int), "of floats .got int64"),
        ("usr_emb_np.pkl", np.ones((2, 2)), r"user_vectors must have shape \(3, t\)"),
        ("itm_emb_np.pkl", np.full((4, 2), np.nan), "item_vectors must be finite"),
        ("usr_prf.pkl", ["text"], "usr_prf.pkl: must hold a dict .got list"),
        ("usr_prf.pkl", {3: {"profile": "x"}}, r"keys must be numbers in \[0, 3\) .got 3"),
        ("usr_prf.pkl", {"a": {"profile": "x"}}, "keys must be numbers"),
        ("usr_prf.pkl", {0: {"reasoning": "x"}}, "entry 0 must hold a text under profile"),
        ("usr_prf.pkl", {0: {"profile": 1}}, "entry 0 must hold a text .* .got int"),
        ("usr_prf.pkl", os.system, "usr_prf.pkl: the pickle must hold only .* .got posix.system"),
    ],
)
def test_a_wrong_file_is_named(rlmrec_folder: Path, file: str, value: Any, message: str) -> None:
    write(rlmrec_folder / file, value)
    with pytest.raises(DatasetError, match=message):
        read_rlmrec(rlmrec_folder)


def test_a_text_that_is_no_unicode_can_still_be_saved(rlmrec_folder: Path, tmp_path: Path) -> None:
    write(rlmrec_folder / "usr_prf.pkl", {0: {"profile": "half \ud83d of a smile"}})
    dataset = read_rlmrec(rlmrec_folder)
    dataset.save(tmp_path / "out")
    assert dataset.users is not None
    assert dataset.users["profile"][0] == "half ? of a smile"


def test_missing_matrices_are_told_with_what_was_found(rlmrec_folder: Path) -> None:
    (rlmrec_folder / "val_mat.pkl").unlink()
    with pytest.raises(FileNotFoundError, match=r"missing: val_mat\.pkl \(got itm_emb_np\.pkl, "):
        read_rlmrec(rlmrec_folder)
    with pytest.raises(FileNotFoundError, match="must be a folder"):
        read_rlmrec(rlmrec_folder / "none")


@pytest.mark.realdata
def test_amazon_is_imported_whole(realdata: Path, tmp_path: Path) -> None:
    read_rlmrec(realdata / "amazon").save(tmp_path / "amazon")
    dataset = Dataset.load(tmp_path / "amazon")
    summary = summarize(dataset)
    assert (dataset.num_users, dataset.num_items) == (11_000, 9_332)
    counts = {"train": 120_464, "validation": 40_290, "test": 40_106, "total": 200_860}
    assert summary["interactions"] == counts
    assert summary["users"]["degrees"]["max"] == 253
    assert summary["items"]["degrees"]["max"] == 246
    assert set(summary["overlap"].values()) == {0}
    assert summary["items"]["text"]["profiles"] == 9_332
    assert dataset.items is not None
    # The row of the CSV file's first line, whose id has a leading zero.
    assert dataset.items["id"][164] == "0345803493"
    assert str(dataset.items["profile"][164]).startswith("Fans of romance and erotic fiction")
    assert dataset.item_vectors is not None
    assert dataset.item_vectors.shape == (9_332, 384)


@pytest.mark.realdata
def test_a_folder_without_training_interactions_says_so(realdata: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"missing: trn_mat\.pkl \(got .*val_mat\.pkl"):
        read_rlmrec(realdata / "steam")
