"""The command line with texts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from small_runs import make_dataset, with_texts
from typer.testing import CliRunner

from rlmrec_fast.alignment import ALIGNMENTS
from rlmrec_fast.cli import app

# One thread: work so small gains nothing from two, and loses much where the machine is shared.
FAST = ["--epochs", "4", "--threads", "1"]
FAST += ["--set", "eval_every=2", "--set", "dim=8", "--set", "batch_size=100"]
BOTH = pytest.mark.parametrize("align", ALIGNMENTS)


def call(*words: object):
    return CliRunner().invoke(app, [str(word) for word in words])


def refused(*words: object) -> str:
    result = call(*words)
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with_texts(make_dataset()).save("texts")


def save_zero_vectors() -> None:
    data = with_texts(make_dataset())
    vectors = data.user_vectors.copy()
    vectors[[5, 6]] = 0
    replace(data, user_vectors=vectors).save("zeros")


@BOTH
def test_training_evaluating_and_recommending(align):
    result = call("train", "--data", "texts", "--align", align, *FAST)
    assert result.exit_code == 0, result.output
    facts = (
        f"lightgcn, {align} alignment, on tiny: 40 users, 30 items",
        "texts: user_vectors (40, 12) float16 (0 zero), item_vectors (30, 12) float16 (0 zero)",
        "projector_dtype float32",
    )
    run = Path(f"runs/tiny-lightgcn-{align}-2023")
    assert all(fact in result.stderr and fact in (run / "train.log").read_text() for fact in facts)
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert all(record["infomax_loss"] > 0 for record in records)
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["settings"]["align"] == align
    assert {"user_vectors", "item_vectors"} < set(config["data"]["fingerprint"])
    expected = json.loads((run / "result.json").read_text())["test"]
    found = json.loads(call("evaluate", run, "--json").stdout)
    assert {name: found[name] for name in expected} == expected
    items = json.loads(call("recommend", run, "--user", 3, "-k", 4, "--json").stdout)["items"]
    assert len(items) == 4


def test_the_projectors_type_is_set_like_any_setting():
    words = ["--align", "contrastive", "--set", "projector_dtype=bfloat16", "--out", "run", *FAST]
    assert call("train", "--data", "texts", *words).exit_code == 0
    config = yaml.safe_load(Path("run/config.yaml").read_text())
    assert config["settings"]["projector_dtype"] == "bfloat16"
    message = refused("train", "--data", "texts", "--set", "projector_dtype=bfloat16", *FAST)
    assert "projector_dtype must not be set for lightgcn with align none" in message


@BOTH
def test_missing_vectors_are_refused_before_anything_is_written(align):
    make_dataset().save("bare")
    words = ["--align", align, "--out", "run", "--overwrite", *FAST]
    assert call("train", "--data", "texts", *words).exit_code == 0
    before = {path.name: path.read_bytes() for path in Path("run").iterdir()}
    message = refused("train", "--data", "bare", *words)
    assert "user_vectors and item_vectors must be there to align with texts" in message
    assert {path.name: path.read_bytes() for path in Path("run").iterdir()} == before


def test_zero_vectors_need_a_flag_once_and_are_counted():
    save_zero_vectors()
    words = ["--align", "contrastive", "--out", "run", *FAST]
    message = refused("train", "--data", "zeros", *words)
    assert "user_vectors must not be zero" in message
    assert "2 zero rows, first row 5; --allow-zero-vectors" in message
    assert not Path("run").exists()
    result = call("train", "--data", "zeros", "--allow-zero-vectors", *words)
    assert result.exit_code == 0, result.output
    assert "user_vectors (40, 12) float16 (2 zero)" in Path("run/train.log").read_text()
    whole = Path("run/result.json").read_bytes()
    Path("run/result.json").unlink()
    assert call("train", "--resume", "--out", "run").exit_code == 0
    assert json.loads(whole)["test"] == json.loads(Path("run/result.json").read_text())["test"]


def test_resuming_with_other_vectors_or_another_alignment_is_refused():
    words = ["--align", "generative", "--out", "run", *FAST]
    assert call("train", "--data", "texts", *words).exit_code == 0
    Path("run/result.json").unlink()
    with_texts(make_dataset(), seed=1).save("other")
    resume = ["train", "--resume", "--out", "run"]
    assert "differs in: user_vectors, item_vectors" in refused(*resume, "--data", "other")
    assert "must keep the run's align generative" in refused(*resume, "--align", "contrastive")
    assert call("evaluate", "run", "--data", "other").exit_code == 0


@pytest.mark.realdata
@BOTH
def test_amazon_trains_with_its_texts(realdata, align):
    words = ["--align", align, "--epochs", 1, "--threads", 1, "--out", "run"]
    result = call("train", "--data", realdata / "amazon", *words)
    assert result.exit_code == 0, result.output
    assert "user_vectors (11000, 384) float16 (0 zero)" in result.stderr
    record = json.loads(Path("run/metrics.jsonl").read_text())
    assert 0 < record["infomax_loss"] < 1
    assert np.isfinite(record["recall@20"])
