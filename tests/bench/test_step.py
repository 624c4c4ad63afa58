"""A benchmark of a step has a case for every backbone, and both sides of it run."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("scipy")

from bench.data import Context
from bench.harness import ONCE, run
from bench.step import OURS, RLMREC, cases
from rlmrec_fast.backbones import BACKBONES


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Work so small gains nothing from two, and loses much where the machine is shared."""
    torch.set_num_threads(1)


def test_every_backbone_races_its_counterpart():
    plain = [case for case in cases(Context("tiny", 1, compile=False)) if "step" in case.name]
    names = [kind.__name__ for kind in BACKBONES.values()]
    assert [case.name for case in plain] == [f"step, {name}" for name in names]
    for case in plain:
        ours, theirs = run(case, ONCE, None, {})
        assert (ours.provider, theirs.provider) == (OURS, RLMREC)
        assert ours.error is theirs.error is None
        assert theirs.ratio > 0
        assert sum(ours.details["profile"].values()) == pytest.approx(1)
