"""Reads the folder that RLMRec itself uses.

    trn_mat.pkl val_mat.pkl tst_mat.pkl   scipy sparse U x I, non-zero = interaction
    usr_emb_np.pkl itm_emb_np.pkl         text vectors; or user_embeddings.npy, item_embeddings.npy
    usr_prf.pkl itm_prf.pkl               number -> {"profile": text, ...}; or user_profiles.csv
                                          (user_id_int, user_id_raw, profile_text) and so for items

Texts and vectors are optional; where both forms of one are there, the pickle is taken.
Source: https://github.com/HKUDS/RLMRec.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import scipy.sparse as sp

from rlmrec_fast.data.dataset import TRAINING_PICKLE, Dataset, files_in
from rlmrec_fast.data.tables import make_table
from rlmrec_fast.data.unpickle import load_pickle
from rlmrec_fast.data.vectors import Vectors, read_vectors
from rlmrec_fast.errors import DatasetError

_MATRICES = {"train": TRAINING_PICKLE, "validation": "val_mat.pkl", "test": "tst_mat.pkl"}
_SHORT = {"user": "usr", "item": "itm"}
FILES = (
    *_MATRICES.values(),
    *(f"{short}_{kind}.pkl" for short in _SHORT.values() for kind in ("emb_np", "prf")),
    *(f"{side}_{kind}" for side in _SHORT for kind in ("embeddings.npy", "profiles.csv")),
)
"""Every file that is read."""


def read_rlmrec(path: str | Path) -> Dataset:
    """Reads RLMRec's folder; pickles are read as data and execute nothing.

    The name is the folder's. float64 vectors become float32, as in RLMRec itself. Original ids come
    from the CSV files; elsewhere an id is the number. A user or item that a CSV file leaves out
    gets the id `#` and its number, and no profile.

    Args:
        path: The folder.

    Raises:
        FileNotFoundError: There is no such folder, or a matrix is missing.
        DatasetError: A file is damaged, refused, or disagrees with the others.
    """
    path = Path(path)
    if not path.is_dir():
        raise FileNotFoundError(f"read_rlmrec: path must be a folder (got {path})")
    missing = [file for file in _MATRICES.values() if not (path / file).is_file()]
    if missing:
        raise FileNotFoundError(
            f"read_rlmrec: {path} must hold {', '.join(_MATRICES.values())}; missing:"
            f" {', '.join(missing)} (got {files_in(path)})"
        )
    parts: dict[str, Any] = {name: _read_matrix(path / file) for name, file in _MATRICES.items()}
    for side, size in zip(("user", "item"), parts["train"].shape, strict=True):
        parts[f"{side}_vectors"] = _read_vectors(path, side)
        parts[f"{side}s"] = _read_profiles(path, side, size)
    try:
        return Dataset(name=path.resolve().name or "rlmrec", source="RLMRec's files", **parts)
    except (TypeError, ValueError) as error:
        raise DatasetError(f"{path}: {error}") from error


def _read_matrix(path: Path) -> sp.coo_array:
    matrix = load_pickle(path)
    if not isinstance(matrix, sp.coo_array):
        raise DatasetError(f"{path}: must hold a scipy sparse matrix (got {type(matrix).__name__})")
    return matrix


def _read_vectors(folder: Path, side: str) -> Vectors | None:
    for name in (f"{_SHORT[side]}_emb_np.pkl", f"{side}_embeddings.npy"):
        if (folder / name).is_file():
            return read_any_vectors(folder / name)
    return None


def read_any_vectors(path: Path) -> Vectors:
    """Reads a table of vectors from a `.npy` file, memory-mapped, or from RLMRec's pickle.

    Raises:
        FileNotFoundError: There is no such file.
        DatasetError: The file is damaged, or holds something else.
    """
    if not path.is_file():
        raise FileNotFoundError(f"vectors: {path} must be a file (got nothing there)")
    if path.suffix.lower() != ".pkl":
        return read_vectors(path)
    vectors = load_pickle(path)
    if not isinstance(vectors, np.ndarray) or vectors.dtype.kind != "f":
        got = vectors.dtype if isinstance(vectors, np.ndarray) else type(vectors).__name__
        raise DatasetError(f"{path}: must hold a numpy array of floats (got {got})")
    return vectors.astype(np.float32) if vectors.dtype == np.float64 else vectors


def _read_profiles(folder: Path, side: str, size: int) -> pl.DataFrame | None:
    pickled = folder / f"{_SHORT[side]}_prf.pkl"
    if pickled.is_file():
        return _from_pickle(pickled, size)
    table = folder / f"{side}_profiles.csv"
    return _from_csv(table, side, size) if table.is_file() else None


def _from_pickle(path: Path, size: int) -> pl.DataFrame:
    content = load_pickle(path)
    if not isinstance(content, dict):
        raise DatasetError(f"{path}: must hold a dict (got {type(content).__name__})")
    profiles: list[str | None] = [None] * size
    for key, entry in content.items():
        if isinstance(key, bool) or not isinstance(key, (int, np.integer)) or not 0 <= key < size:
            raise DatasetError(f"{path}: keys must be numbers in [0, {size}) (got {key!r:.80})")
        text = entry.get("profile") if isinstance(entry, dict) else entry
        if not isinstance(text, str):
            raise DatasetError(
                f"{path}: entry {key} must hold a text under profile (got {type(text).__name__})"
            )
        # A lone surrogate, which a pickle may hold, cannot be written as UTF-8.
        profiles[int(key)] = text.encode("utf-8", "replace").decode("utf-8")
    return make_table([str(number) for number in range(size)], profiles=profiles)


def _from_csv(path: Path, side: str, size: int) -> pl.DataFrame:
    number, raw, text = f"{side}_id_int", f"{side}_id_raw", "profile_text"
    try:
        # Everything as text: an original id may have leading zeros.
        table = pl.read_csv(path, infer_schema_length=0, glob=False)
        rows = table.select(pl.col(number).cast(pl.Int64), pl.col(raw), pl.col(text))
    except pl.exceptions.PolarsError as error:
        raise DatasetError(
            f"{path}: must be a CSV file with the columns {number}, {raw}, {text} (got {error})"
        ) from error
    wrong = rows.filter(pl.col(number).is_null() | ~pl.col(number).is_between(0, size - 1))
    if wrong.height:
        raise DatasetError(f"{path}: {number} must be in [0, {size}) (got {wrong[number][0]})")
    if rows[number].n_unique() != rows.height:
        repeated = rows[number].filter(rows[number].is_duplicated())[0]
        raise DatasetError(f"{path}: {number} must be unique (got {repeated} more than once)")
    every = pl.DataFrame({number: pl.int_range(size, dtype=pl.Int64, eager=True)})
    return (
        every.join(rows, on=number, how="left")
        .sort(number)
        .select(
            pl.coalesce(raw, pl.format("#{}", number)).alias("id"),
            pl.col(text).alias("profile"),
        )
    )
