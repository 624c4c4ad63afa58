from __future__ import annotations

from pathlib import Path

import pytest
from analyzed import FAST, call

from rlmrec_fast.data.synthetic import synthesize


@pytest.fixture(scope="session")
def analysis_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "toy"
    synthesize(150, 120, 3000, seed=1).save(path)
    return path


@pytest.fixture(scope="session")
def analysis_runs(analysis_data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """LightGCN alone, with contrastive and with generative alignment."""
    folder = tmp_path_factory.mktemp("runs")
    for align in ("none", "contrastive", "generative"):
        words = ["--data", analysis_data, "--align", align, "--out", folder / align]
        result = call("train", *words, *FAST)
        assert result.exit_code == 0, result.output
    return [folder / align for align in ("none", "contrastive", "generative")]


@pytest.fixture(scope="session")
def analysis_report(analysis_runs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report on the three."""
    path = tmp_path_factory.mktemp("reports") / "report"
    words = ["-k", 20, "-k", 5, "--map", "pca", "--item", "item-7"]
    result = call("analyze", *analysis_runs, "-o", path, *words)
    assert result.exit_code == 0, result.output
    return path
