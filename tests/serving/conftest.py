from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rlmrec_fast.data import Dataset
from rlmrec_fast.data.synthetic import synthesize
from rlmrec_fast.training.inference import TrainedRun
from rlmrec_fast.training.model import create_model
from rlmrec_fast.training.run import RunConfig, RunFolder
from rlmrec_fast.training.settings import Settings
from rlmrec_fast.training.trainer import Trainer


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "toy"
    synthesize(150, 80, 3000, seed=1).save(path)
    return path


def train(data: Path, path: Path, align: str = "none", model: str = "lightgcn") -> Path:
    """A short run; one thread, for work so small gains nothing from two."""
    torch.set_num_threads(1)
    changes = {"dim": 8, "batch_size": 1000, "eval_every": 5, "max_epochs": 10}
    settings = Settings.of(model, align, changes=changes | {"learning_rate": 0.02})
    dataset = Dataset.load(data)
    with RunFolder.create(path, RunConfig.of(settings, "default", dataset, data)) as run:
        Trainer(create_model(settings, dataset), dataset, settings, run).fit()
    return path


@pytest.fixture(scope="session")
def run_path(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(data, tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture
def run(run_path: Path) -> TrainedRun:
    return TrainedRun.load(run_path)
