from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_runs import make_dataset, make_settings

from rlmrec_fast.data import Dataset
from rlmrec_fast.training.model import create_model
from rlmrec_fast.training.run import RunConfig, RunFolder
from rlmrec_fast.training.settings import Settings
from rlmrec_fast.training.trainer import Trainer


@pytest.fixture
def dataset() -> Dataset:
    return make_dataset()


@pytest.fixture
def settings() -> Settings:
    return make_settings()


@pytest.fixture
def make_trainer(dataset: Dataset) -> Callable[..., Trainer]:
    """Builds a trainer on `dataset`, by default with `SMALL` settings and without a run folder."""

    def make(run: RunFolder | None = None, **changes: Any) -> Trainer:
        settings = run.config.settings if run else make_settings(**changes)
        return Trainer(create_model(settings, dataset), dataset, settings, run)

    return make


@pytest.fixture
def config(dataset: Dataset, settings: Settings, tmp_path: Path) -> RunConfig:
    return RunConfig.of(settings, "default", dataset, tmp_path / "data")
