"""Data sets and settings with which a whole run takes a fraction of a second."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import scipy.sparse as sp

from rlmrec_fast.data import Dataset
from rlmrec_fast.training.settings import Settings

SMALL = {
    "dim": 8,
    "num_layers": 2,
    "batch_size": 100,
    "learning_rate": 0.02,
    "max_epochs": 6,
    "eval_every": 2,
    "patience": 3,
}


def make_dataset(users: int = 40, items: int = 30, seed: int = 0, name: str = "tiny") -> Dataset:
    """Random interactions, every user with all three splits; user and item 0 have few."""
    rng = np.random.default_rng(seed)
    matrix = rng.random((users, items)) < 0.3
    matrix[:, 0] = False
    parts = rng.permuted(np.resize([0, 0, 0, 1, 2], (users, items)), axis=1)
    splits = (sp.csr_array((matrix & (parts == part)).astype(np.float32)) for part in range(3))
    return Dataset(name, *splits)


def with_texts(dataset: Dataset, width: int = 12, seed: int = 0) -> Dataset:
    """The same interactions, with random text vectors in 16 bits."""
    rng = np.random.default_rng(seed)
    tables = {
        f"{side}_vectors": rng.standard_normal((size, width)).astype(np.float16)
        for side, size in zip(("user", "item"), dataset.train.shape, strict=True)
    }
    return replace(dataset, **tables)


def make_settings(align: str = "none", **changes: Any) -> Settings:
    return Settings.of("lightgcn", align, changes=SMALL | changes)
