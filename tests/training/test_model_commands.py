"""The command line with every backbone and every alignment."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from rich.cells import cell_len
from small_runs import make_dataset, with_texts
from typer.testing import CliRunner

from rlmrec_fast.alignment import ALIGNMENTS
from rlmrec_fast.backbones import BACKBONES
from rlmrec_fast.cli import app
from rlmrec_fast.training.presets import COMMON, preset_names
from rlmrec_fast.training.settings import Settings

FAST = ["--epochs", "2", "--threads", "1", "--set", "dim=8", "--set", "batch_size=100"]


def call(*words: object):
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with_texts(make_dataset()).save("texts")


def smaller(name: str) -> list[str]:
    """What a model needs changed for a data set of 70 nodes."""
    known = Settings.of(name).used()
    changes = {"seed_num": 5, "num_intents": 4}
    return [word for key in changes.keys() & known for word in ("--set", f"{key}={changes[key]}")]


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("align", ["none", *ALIGNMENTS])
def test_every_model_is_trained_evaluated_and_recommends(name, align):
    words = ["--model", name, "--align", align, *FAST, *smaller(name)]
    result = call("train", "--data", "texts", *words)
    assert result.exit_code == 0, result.output
    assert result.stderr.startswith(name)
    run = Path("-".join(["runs/tiny", name, *([] if align == "none" else [align]), "2023"]))
    settings = yaml.safe_load((run / "config.yaml").read_text())["settings"]
    assert settings.keys() == Settings.of(name, align).used().keys()
    expected = json.loads((run / "result.json").read_text())["test"]
    found = json.loads(call("evaluate", run, "--json").stdout)
    assert {key: found[key] for key in expected} == expected
    items = json.loads(call("recommend", run, "--user", 3, "-k", 4, "--json").stdout)["items"]
    assert len(items) == 4


@pytest.mark.parametrize("augmentation", ["node_drop", "random_walk"])
def test_the_augmentation_of_sgl_is_a_setting(augmentation):
    words = ["--model", "sgl", "--set", f"augmentation={augmentation}", "--out", "run", *FAST]
    assert call("train", "--data", "texts", *words).exit_code == 0
    settings = yaml.safe_load(Path("run/config.yaml").read_text())["settings"]
    assert settings["augmentation"] == augmentation


def rows(output: str) -> dict[str, str]:
    """The rows of the tables, their cells' lines joined, by the text of their first cell."""
    found: dict[str, str] = {}
    cells: list[str] = []
    for line in output.splitlines():
        if line.startswith("│"):
            parts = [part.strip() for part in line.strip("│").split("│")]
            cells = (
                [" ".join(pair).strip() for pair in zip(cells, parts, strict=True)]
                if cells
                else parts
            )
        elif cells:
            found[cells[0]] = " | ".join(cells[1:])
            cells = []
    return found


@pytest.mark.parametrize("width", [80, 120])
def test_models_lists_everything_that_can_be_trained(width, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    output = call("models").stdout
    assert max(map(cell_len, output.splitlines())) <= width
    found = rows(output)
    assert found.keys() == BACKBONES.keys() | ALIGNMENTS.keys()
    for name, kind in {**BACKBONES, **ALIGNMENTS}.items():
        paper, settings, *others = found[name].split(" | ")
        assert paper == kind.paper
        own = [key for key in kind.parameters_and_defaults() if key not in COMMON]
        assert [setting.split()[0] for setting in settings.split(", ")] == own
        assert others == (
            [" ".join(ALIGNMENTS), " ".join(preset_names())] if name in BACKBONES else []
        )
    assert all(f"{key} " in output for key in COMMON)
