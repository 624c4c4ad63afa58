"""Data sets and settings with which a whole run takes a fraction of a second."""

from __future__ import annotations

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


def make_settings(**changes: Any) -> Settings:
    return Settings.of("lightgcn", changes=SMALL | changes)
