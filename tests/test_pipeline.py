"""The documented sequence from raw tables to recommendations."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from rlmrec_fast.cli import app
from rlmrec_fast.data import Dataset

DOCUMENT = Path(__file__).parents[1] / "docs" / "pipeline.md"
# What makes minutes of seconds; the commands are the documented ones.
SHORT = {
    "data prepare": ["--user-core", "12", "--item-core", "12"],
    "encode": ["--dim", "16", "--threads", "1"],
    "train": ["--epochs", "2", "--set", "eval_every=1", "--set", "dim=8", "--threads", "1"],
}


def documented() -> list[list[str]]:
    """The words of every command."""
    text = DOCUMENT.read_text(encoding="utf-8")
    found = re.search(r"<!-- example:steam -->\n```\n(.*?)```", text, re.DOTALL)
    assert found is not None
    return [shlex.split(line)[1:] for line in found[1].splitlines()]


@pytest.mark.realdata
def test_steam_from_raw_as_documented(realdata, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("steam").symlink_to(realdata / "steam")
    commands = [words for words in documented() if words[0] != "analyze"]
    assert len(commands) == 6
    for words in commands:
        name = " ".join(words[:2]) if words[0] == "data" else words[0]
        result = CliRunner().invoke(app, [*words, *SHORT.get(name, [])])
        assert result.exit_code == 0, result.output[-1000:]
    dataset = Dataset.load("data/steam")
    assert dataset.item_vectors.shape == (dataset.num_items, 16)
    top = pl.read_parquet("top20.parquet")
    assert top["user"].n_unique() == dataset.num_users
    assert top["title"].null_count() == 0
