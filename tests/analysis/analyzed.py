"""What the tests of commands on runs share."""

from __future__ import annotations

from typer.testing import CliRunner

from rlmrec_fast.cli import app

FAST = ["--epochs", "3", "--set", "dim=8", "--set", "batch_size=1000"]


def call(*words: object):
    return CliRunner().invoke(app, [str(word) for word in words])
