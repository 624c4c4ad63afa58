"""The backbone that CONTRIBUTING.md shows keeps to the contract of all backbones."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import test_contract as contract
import torch
from small_models import make_data
from typer.testing import CliRunner

from rlmrec_fast.backbones import BACKBONES
from rlmrec_fast.cli import app
from rlmrec_fast.training.model import ALIGNMENTS
from rlmrec_fast.training.presets import PUBLISHED

PAGE = Path(__file__).resolve().parents[2] / "CONTRIBUTING.md"


@pytest.fixture(autouse=True)
def name() -> Iterator[str]:
    """Runs the example, and forgets it after the test."""
    example = re.search(
        r"<!-- example:backbone -->\n```python\n(.*?)```", PAGE.read_text(), re.DOTALL
    )
    torch.set_num_threads(1)
    registered = BACKBONES.copy(), PUBLISHED.copy()
    try:
        exec(example[1], {"__name__": "example"})
        (added,) = BACKBONES.keys() - registered[0]
        yield added
    finally:
        for table, before in zip((BACKBONES, PUBLISHED), registered, strict=True):
            table.clear()
            table.update(before)


@pytest.mark.parametrize("align", ALIGNMENTS)
def test_the_example_keeps_to_the_contract(name, align, tmp_path):
    for case in contract.CASES:
        contract.test_a_step_has_finite_terms_and_gradients(name, align, case)
    contract.test_every_parameter_learns_from_more_than_reg_unless_it_says_so(name, align)
    contract.test_another_seed_gives_another_step_where_something_is_drawn(name, align)
    contract.test_another_seed_gives_another_model(name, align)
    contract.test_a_run_is_trained_stopped_resumed_and_used(tmp_path, name, align)


def test_the_example_is_trained_from_the_command_line(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_data().save("data")
    words = ["train", "--data", "data", "--model", name, "--epochs", "2", "--threads", "1"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert Path(f"runs/small-{name}-2023/result.json").exists()
