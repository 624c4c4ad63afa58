from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from rlmrec_fast.analysis import OverlapRow, overlap_table, text_overlap
from rlmrec_fast.analysis.overlap_table import mean_gain
from rlmrec_fast.cli import app
from rlmrec_fast.data import Dataset
from rlmrec_fast.data.synthetic import synthesize
from rlmrec_fast.ops import neighbors, reference
from rlmrec_fast.training.inference import TrainedRun

FAST = ["--epochs", "2", "--set", "dim=8", "--set", "batch_size=1000"]


def call(*words: object):
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "toy"
    synthesize(150, 80, 3000, seed=1).save(path)
    return path


@pytest.fixture(scope="module")
def runs(data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """LightGCN with two seeds, and with contrastive alignment."""
    folder = tmp_path_factory.mktemp("runs")
    for name, words in {"a": [], "b": ["--seed", "1"], "c": ["--align", "contrastive"]}.items():
        result = call("train", "--data", data, "--out", folder / name, *FAST, *words)
        assert result.exit_code == 0, result.output
    return [folder / name for name in "abc"]


def brute_force(embedding: torch.Tensor, texts: np.ndarray, k: int) -> float:
    near = [
        reference.neighbors(torch.as_tensor(np.asarray(table, np.float64)), k)
        for table in (embedding.detach().numpy(), texts)
    ]
    return float(reference.neighbor_overlap(*near).mean())


@pytest.mark.parametrize("side", ["items", "users"])
def test_the_table_is_that_of_brute_force_and_averages_seeds(runs, side):
    loaded = [TrainedRun.load(run) for run in runs]
    embedding, texts = (f"{side.removesuffix('s')}_{table}" for table in ("embedding", "vectors"))
    values = [
        brute_force(getattr(run, embedding), getattr(run.dataset, texts), k=7) for run in loaded
    ]
    (row,) = overlap_table(loaded, k=7, side=side)
    assert row.model == "lightgcn"
    assert row.runs == {"none": 2, "contrastive": 1}
    assert row.overlap["none"] == pytest.approx((values[0] + values[1]) / 2, abs=2e-3)
    assert row.overlap["contrastive"] == pytest.approx(values[2], abs=2e-3)
    assert row.gain("contrastive") == row.overlap["contrastive"] / row.overlap["none"] - 1
    assert row.gain("generative") is None


def test_a_space_agrees_with_itself_wholly():
    table = torch.randn(40, 6)
    assert text_overlap(table, neighbors(3 * table, 5)).tolist() == [1.0] * 40


def test_gains_are_averaged_over_the_backbones_that_have_them():
    rows = [
        OverlapRow("a", {"none": 0.1, "contrastive": 0.15}, {}),
        OverlapRow("b", {"none": 0.2, "contrastive": 0.2, "generative": 0.3}, {}),
        OverlapRow("c", {"contrastive": 0.2}, {}),
    ]
    assert mean_gain(rows, "contrastive") == pytest.approx(0.25)
    assert mean_gain(rows, "generative") == pytest.approx(0.5)
    assert mean_gain(rows[2:], "contrastive") is None


def test_the_command_prints_a_table_and_json(runs):
    found = json.loads(call("overlap", *runs, "-k", 7, "--json").stdout)
    (row,) = overlap_table((TrainedRun.load(run) for run in runs), k=7)
    assert found["models"] == [
        {
            "model": "lightgcn",
            "overlap": row.overlap,
            "runs": {"none": 2, "contrastive": 1},
            "gain": {"contrastive": row.gain("contrastive")},
        }
    ]
    table = call("overlap", *runs, "-k", 7).stdout
    assert f"{row.overlap['none']:.4f} (2 runs)" in table
    assert f"{row.gain('contrastive'):+.1%}" in table


def refused(*words: object) -> str:
    result = call("overlap", *words)
    assert result.exit_code == 2, result.output
    assert not result.stdout
    return result.stderr


def test_what_cannot_be_compared_is_refused_by_name(runs, data, tmp_path):
    assert "side must be one of items, users (got both)" in refused(runs[0], "--side", "both")
    assert "k must be at least 1 (got 0)" in refused(runs[0], "-k", 0)
    assert "must be a run folder" in refused(tmp_path)
    textless = replace(Dataset.load(data), user_vectors=None, item_vectors=None)
    textless.save(tmp_path / "textless")
    message = refused(runs[0], "--data", tmp_path / "textless")
    assert "item_vectors must be in the data set (got none in" in message
    synthesize(150, 80, 3000, seed=2).save(tmp_path / "other")
    call("train", "--data", tmp_path / "other", "--out", tmp_path / "run", *FAST)
    message = refused(runs[0], tmp_path / "run")
    assert "runs must be of one data set" in message
    assert "differs from" in message
