from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from rlmrec_fast.cli import app
from rlmrec_fast.data import Dataset


def call(*words: object):
    return CliRunner().invoke(app, [str(word) for word in words])


def refused(*words: object) -> str:
    result = call(*words)
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert not result.stdout
    return result.stderr


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def items_of(line: str) -> list[str]:
    return [item["id"] for item in json.loads(line)["items"]]


def test_everybody_is_recommended_to_in_one_file(run_path, run):
    result = call("recommend", run_path, "--all", "-k", 5, "--out", "top.jsonl")
    assert result.exit_code == 0, result.output
    assert result.stdout == "top.jsonl: 750 items for 150 users\n"
    lines = Path("top.jsonl").read_text().splitlines()
    for user in (0, 9, 149):
        assert items_of(lines[user]) == [item.id for item in run.recommend(user, 5)]
    result = call("recommend", run_path, "--all", "-k", 5, "--out", "top.parquet", "--json")
    assert json.loads(result.stdout) == {"out": "top.parquet", "users": 150, "rows": 750}
    assert pl.read_parquet("top.parquet").height == 750


def test_some_users_are_named_or_listed(run_path, run):
    names = run.dataset.users["id"].to_list()
    Path("users.txt").write_text(f"{names[7]}\n{names[2]}\n")
    words = ["recommend", run_path, "--user", names[4], "--users-from", "users.txt", "-k", 3]
    result = call(*words, "--json")
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["user"] for line in found] == [names[4], names[7], names[2]]
    table = call(*words).stdout
    assert all(f"recommended to user {names[n]}" in table for n in (4, 7, 2))


def test_excluded_items_are_recommended_to_nobody(run_path, run):
    user = run.dataset.users["id"][5]
    first, second, third, *_ = [item.id for item in run.recommend(5, 5)]
    Path("out.txt").write_text(f"{first}\nunknown\n")
    Path("pairs.csv").write_text(
        f"user,item\n{user},{second}\n{run.dataset.users['id'][6]},{third}\n"
    )
    result = call("recommend", run_path, "--user", user, "-k", 1, "--json",
                  "--exclude", "out.txt", "--exclude", "pairs.csv")  # fmt: skip
    assert items_of(result.stdout) == [third]
    assert "out.txt: 1 of 2 rows are about ids that are not among" in result.stderr
    seen = call("recommend", run_path, "--user", user, "-k", 80, "--json", "--with-seen")
    assert len(items_of(seen.stdout)) == 80
    rest = call("recommend", run_path, "--user", user, "-k", 80, "--json", "--without-held-out")
    parts = (run.dataset.train, run.dataset.validation, run.dataset.test)
    assert len(items_of(rest.stdout)) == 80 - sum(part[[5]].nnz for part in parts)


def test_more_like_this(run_path, run, data):
    name = run.dataset.items["id"][3]
    shown = call("similar", run_path, "--item", name, "-k", 4)
    assert f"most similar to item {name}" in shown.stdout
    found = json.loads(call("similar", run_path, "--item", name, "-k", 4, "--json").stdout)
    assert found["to"] == name
    assert len(found["items"]) == 4
    text = call("similar", run_path, "--item", name, "-k", 4, "--json", "--space", "text").stdout
    assert json.loads(text)["items"] != found["items"]
    result = call("similar", run_path, "--all", "-k", 4, "--out", "like.parquet")
    assert result.stdout == "like.parquet: 320 items for 80 items\n"
    rows = pl.read_parquet("like.parquet").filter(pl.col("to") == name)
    assert rows["item"].to_list() == [item["id"] for item in found["items"]]
    replace(Dataset.load(data), item_vectors=None).save("bare")
    message = refused("similar", run_path, "--item", name, "--space", "text", "--data", "bare")
    assert "must have item_vectors to compare texts" in message


def test_a_run_is_exported(run_path, run):
    result = call("export", run_path, "out")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("out: 150 users, 80 items, 8 wide; lightgcn, none alignment")
    assert "must not exist, unless --overwrite" in refused("export", run_path, "out")
    found = call("export", run_path, "out", "--overwrite", "--ids", "parquet", "--json")
    assert json.loads(found.stdout)["epoch"] == run.epoch


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["recommend"], "one of --user, --users-from and --all must say which users (got none)"),
        (["recommend", "--all", "--user", "x"], "must say which users (got both)"),
        (["recommend", "--user", "nobody"], "user must be an original id of"),
        (["recommend", "--users-from", "none.txt"], "none.txt must be a file"),
        (["recommend", "--all", "-k", "0", "--out", "x.jsonl"], "k must be at least 1 (got 0)"),
        (["recommend", "--all", "--out", "x.csv"], "--out must end in .jsonl or .parquet"),
        (["recommend", "--all", "--exclude", "none.csv"], "none.csv must be a file"),
        (["similar"], "one of --item, --items-from and --all must say which items"),
        (["similar", "--item", "nothing"], "item must be an original id of"),
        (["similar", "--all", "--space", "mind"], "--space must be one of embedding, text"),
        (["similar", "--all", "--out", "x"], "--out must end in .jsonl or .parquet"),
        (["export", "out", "--ids", "csv"], "ids must be one of json, parquet (got 'csv')"),
    ],
)
def test_a_wrong_request_is_refused_in_one_line_and_leaves_nothing(run_path, words, message):
    assert message in refused(words[0], run_path, *words[1:])
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("command", ["recommend", "similar", "export"])
def test_every_command_has_help_with_examples(command):
    assert call(command, "--help").stdout.count(f"Example: rlmrec-fast {command}") >= 2


PROGRAM = """
import sys
from rlmrec_fast import cli
from rlmrec_fast.serving import commands
print("ready", flush=True)
cli.app(sys.argv[1:])
"""


def test_killed_at_any_moment_the_rerun_ends_equal(run_path):
    commands = [
        ["recommend", str(run_path), "--all", "--out", "top.jsonl"],
        ["export", str(run_path), "out", "--overwrite"],
    ]

    def content() -> dict[str, bytes]:
        return {str(p): p.read_bytes() for p in sorted(Path().rglob("*")) if p.is_file()}

    assert all(call(*words).exit_code == 0 for words in commands)
    expected = content()
    chance = random.Random(2)
    for words in commands:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *words], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(chance.uniform(0, 0.1))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        whole = {name: text for name, text in content().items() if not name.startswith(".")}
        assert whole == expected
    assert all(call(*words).exit_code == 0 for words in commands)
    assert content() == expected
