from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from small_data import TEST, TRAIN, VALIDATION

from rlmrec_fast.data import Dataset
from rlmrec_fast.data.tables import make_table


@pytest.fixture
def dataset() -> Dataset:
    """Three users, four items, with everything that a data set may have."""
    rng = np.random.default_rng(7)
    return Dataset(
        "small",
        sp.csr_array(np.array(TRAIN)),
        sp.csr_array(np.array(VALIDATION)),
        sp.csr_array(np.array(TEST)),
        user_vectors=rng.random((3, 5), dtype=np.float32),
        item_vectors=rng.random((4, 5), dtype=np.float32).astype(np.float16),
        users=make_table(["ann", "bob", "cyd"], profiles=["likes tea", None, " "]),
        items=make_table(["007", "8", "9", "10"], titles=["Tea", "Cup", None, "Pot"]),
        source="a test",
    )


@pytest.fixture
def rlmrec_folder(tmp_path: Path) -> Path:
    """A folder as RLMRec keeps it, with all of its pickles."""
    folder = tmp_path / "books"
    folder.mkdir()
    profiles = {n: {"profile": f"reader {n}", "reasoning": "none"} for n in range(3)}
    contents = {
        "trn_mat.pkl": sp.coo_matrix(np.array(TRAIN, dtype=np.float64)),
        "val_mat.pkl": sp.csr_matrix(np.array(VALIDATION)),
        "tst_mat.pkl": sp.csc_array(np.array(TEST)),
        "usr_emb_np.pkl": np.arange(1.0, 7.0).reshape(3, 2),
        "itm_emb_np.pkl": np.ones((4, 2), np.float32),
        "usr_prf.pkl": profiles,
        "itm_prf.pkl": {3: {"profile": "a pot"}, 0: {"profile": "tea"}},
    }
    for name, content in contents.items():
        (folder / name).write_bytes(pickle.dumps(content))
    return folder
