"""Grids with which a whole study takes seconds."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner, Result

from rlmrec_fast.cli import app
from rlmrec_fast.reproduce.grid import Cell, Source, make_grid

CHANGES = {"max_epochs": "4", "eval_every": "2", "dim": "4", "batch_size": "1000"}
SETTINGS = [word for name, value in CHANGES.items() for word in ("--set", f"{name}={value}")]


def call(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def small_grid(
    data: Path,
    out: Path,
    models: tuple[str, ...] = ("lightgcn",),
    aligns: tuple[str, ...] = ("none", "contrastive"),
    seeds: tuple[int, ...] = (1, 2),
) -> list[Cell]:
    return make_grid([Source.load(data, None)], models, aligns, seeds, CHANGES, out)


def train(
    cell: Cell, path: Path | None = None, *words: object, settings: list[str] = SETTINGS
) -> Path:
    """Trains a cell in this process."""
    own = cell.settings
    given = ["--model", own.model, "--align", own.align, "--seed", own.seed]
    path = path or cell.path
    data = cell.source.path
    result = call("train", "--data", data, *given, "--out", path, *settings, *words)
    assert result.exit_code == 0, result.output
    return path


def facts(study: Path) -> dict:
    """What a study comes to, without times."""
    content = json.loads((study / "results.json").read_text())
    for entry in content["runs"] + content["results"]:
        entry.pop("seconds", None)
    return content
