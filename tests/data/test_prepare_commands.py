from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner, Result

from rlmrec_fast.data import Dataset
from rlmrec_fast.data.commands import app


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def refused(result: Result) -> str:
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    frame = pl.DataFrame(
        {
            "user_id": rng.integers(0, 300, 9000),
            "item_id": rng.integers(0, 200, 9000),
            "rating": rng.integers(1, 6, 9000),
        }
    )
    frame.write_csv(tmp_path / "ratings.csv")
    items = pl.DataFrame({"item_id": range(200), "title": [f"[b]Item {n}" for n in range(200)]})
    items.write_csv(tmp_path / "items.csv")
    return tmp_path


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_data_set_is_made_and_what_was_removed_is_told(raw):
    words = ("--interactions", raw / "ratings.csv", "--items", raw / "items.csv")
    result = run("prepare", *words, raw / "out")
    assert result.exit_code == 0, result.output
    assert "user = user_id, item = item_id, rating = rating" in result.stdout
    assert "ratings below 3" in result.stdout
    dataset = Dataset.load(raw / "out")
    assert dataset.name == "out"
    assert dataset.items["title"][0] == "[b]Item 0"
    report = json.loads((raw / "out" / "prepare.json").read_text())
    assert sum(report["splits"].values()) == report["steps"][-1]["interactions"]
    assert refused(run("prepare", *words, raw / "out")).endswith("out)\n")
    again = run("prepare", *words, raw / "again", "--name", "out", "--json")
    assert json.loads(again.stdout) == {"out": str(raw / "again"), **report}
    assert content(raw / "again") == content(raw / "out")


def test_options_reach_the_plan(raw):
    path = raw / "u.data"
    path.write_text("".join(f"{u}:{i}:{i % 5}:{9 - i}\n" for u in range(6) for i in range(9)))
    result = run(
        "prepare", "--interactions", path, "--no-header", "--separator", ":", "--columns", "user=1",
        "--columns", "item=2", "--columns", "rating=3", "--columns", "time=4", "--min-rating", 2,
        "--user-core", 1, "--item-core", 6, "--split", "time", "--ratios", "1:1:0", raw / "out",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    dataset = Dataset.load(raw / "out")
    assert (dataset.num_users, dataset.train.nnz, dataset.validation.nnz) == (6, 18, 12)
    assert dataset.items["id"].to_list() == ["2", "3", "4", "7", "8"]
    # The lowest items are the latest.
    assert set(dataset.validation.indices.tolist()) == {0, 1}
    assert dataset.test.nnz == 0
    result = run("prepare", "--interactions", path, "--no-header", "--separator", ":", "--columns",
                 "user=1", "--columns", "item=2", "--all-ratings", raw / "all")  # fmt: skip
    assert Dataset.load(raw / "all").num_items == 9, result.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--columns", "user"], "--columns must be ROLE=COLUMN"),
        (["--separator", "::"], "--separator must be one character (got '::')"),
        (["--ratios", "3:1"], "--ratios must be three numbers such as 3:1:1 (got '3:1')"),
        (["--max-bad", "some"], "--max-bad must be a number of rows, or a share"),
        (["--max-bad", "200%"], "--max-bad must be a number of rows, or a share"),
        (["--split", "coin"], "split must be one of random, time, leave-one-out"),
        (["--user-core", "0"], "user_core must be at least 1"),
        (["--user-core", "10000"], "some interactions must be left; lower --user-core"),
        (["--items", "none.csv"], "none.csv must be a file (got nothing there)"),
        (["--user-vectors", "none.npy"], "none.npy must be a file (got nothing there)"),
    ],
)
def test_a_wrong_request_is_refused_in_one_line_and_leaves_nothing(raw, words, message):
    before = sorted(raw.iterdir())
    assert message in refused(
        run("prepare", "--interactions", raw / "ratings.csv", raw / "out", *words)
    )
    assert sorted(raw.iterdir()) == before


def test_help_tells_exit_codes_and_examples():
    result = run("prepare", "--help")
    assert result.stdout.count("Example: rlmrec-fast data prepare") == 3
    assert "Exit codes: 0 done, 2 " in result.stdout


PROGRAM = """
import sys
from rlmrec_fast.data import commands, prepare_commands
print("ready", flush=True)
sys.argv = ["rlmrec-fast data", *sys.argv[1:]]
commands.app()
"""


def test_killed_at_any_moment_nothing_half_written_is_left(raw):
    words = ["prepare", "--interactions", str(raw / "ratings.csv")]
    assert run(*words, raw / "whole", "--name", "data").exit_code == 0
    expected = content(raw / "whole")
    words = [*words, str(raw / "out"), "--name", "data", "--overwrite"]
    chance = random.Random(4)
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *words], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(chance.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        # The moment between two renames is too short to be met here.
        if (raw / "out").exists():
            assert content(raw / "out") == expected
    (raw / ".out.999999999-0123abcd.new").mkdir()
    assert run(*words).exit_code == 0
    assert content(raw / "out") == expected
    assert sorted(path.name for path in raw.iterdir()) == [
        "items.csv", "out", "ratings.csv", "whole"
    ]  # fmt: skip
