"""Runs that take a moment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from rlmrec_fast.data import Dataset
from rlmrec_fast.training.model import create_model
from rlmrec_fast.training.run import RunConfig, RunFolder
from rlmrec_fast.training.settings import Settings
from rlmrec_fast.training.trainer import Trainer


def train(data: Path, path: Path, align: str = "none", **others: Any) -> Path:
    """A short run; one thread, for work so small gains nothing from two."""
    torch.set_num_threads(1)
    changes = {"dim": 8, "batch_size": 1000, "eval_every": 5, "max_epochs": 10}
    changes |= {"learning_rate": 0.02, **others}
    settings = Settings.of("lightgcn", align, changes=changes)
    dataset = Dataset.load(data)
    with RunFolder.create(path, RunConfig.of(settings, "default", dataset, data)) as run:
        Trainer(create_model(settings, dataset), dataset, settings, run).fit()
    return path
