"""Any backbone with any alignment on any data, small enough for a step in milliseconds."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from rlmrec_fast.alignment import Recommender
from rlmrec_fast.backbones import BACKBONES, Backbone, Batch
from rlmrec_fast.data import Dataset
from rlmrec_fast.graph import InteractionGraph
from rlmrec_fast.training.model import create_model
from rlmrec_fast.training.settings import Settings

SMALL = {
    "dim": 8,
    "num_layers": 2,
    "num_heads": 2,
    "seed_num": 3,
    "mask_depth": 1,
    "num_intents": 4,
    "batch_size": 60,
    "learning_rate": 0.01,
    "max_epochs": 2,
    "eval_every": 1,
}


def make_settings(name: str, align: str = "none", **changes: Any) -> Settings:
    """The default settings with those of `SMALL` and of `changes` that the model has."""
    known = Settings.of(name, align).used()
    chosen = {key: value for key, value in (SMALL | changes).items() if key in known}
    return Settings.of(name, align, changes=chosen)


def make_data(users: int = 30, items: int = 20, share: float = 0.4, isolated: int = 0) -> Dataset:
    """Random interactions with random texts; the last users and items may have none.

    Every part has at least one interaction: user 0 has item 0 in training, and where there are
    others the last of the others in validation and test.
    """
    rng = np.random.default_rng(users + items)
    part = rng.integers(0, 5, (users, items)).clip(2) - 2
    part[rng.random((users, items)) >= share] = -1
    part[users - isolated :], part[:, items - isolated :] = -1, -1
    part[0, 0], part[1, 0], part[2, 0] = 0, 1, 2
    splits = [sp.csr_array((part == number).astype(np.float32)) for number in range(3)]
    texts = {
        f"{side}_vectors": rng.standard_normal((size, 12)).astype(np.float32)
        for side, size in (("user", users), ("item", items))
    }
    return Dataset("small", *splits, **texts)


def make_model(name: str, align: str, data: Dataset, **changes: Any) -> Recommender:
    return create_model(make_settings(name, align, **changes), data).train()


def make_backbone(name: str, graph: InteractionGraph, **changes: Any) -> Backbone:
    return BACKBONES[name].create(graph, make_settings(name, **changes).used())


def make_batch(model: Recommender, size: int | None = None) -> Batch:
    """Training interactions in their order; negatives are items of other interactions."""
    users, positives = model.graph.interactions()
    return Batch(*(column[:size] for column in (users, positives, positives.flip(0))))


def total(terms: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(terms.values())).sum()
