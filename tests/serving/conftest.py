from __future__ import annotations

from pathlib import Path

import pytest
from short_runs import train

from rlmrec_fast.data.synthetic import synthesize
from rlmrec_fast.training.inference import TrainedRun


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "toy"
    synthesize(150, 80, 3000, seed=1).save(path)
    return path


@pytest.fixture(scope="session")
def run_path(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(data, tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture
def run(run_path: Path) -> TrainedRun:
    return TrainedRun.load(run_path)
