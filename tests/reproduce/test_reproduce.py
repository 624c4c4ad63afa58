from __future__ import annotations

import csv
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
import typer
from small_studies import SETTINGS, call, facts, small_grid, train

from rlmrec_fast.data import Dataset
from rlmrec_fast.reproduce import pages, queue
from rlmrec_fast.reproduce.command import ManyValues
from rlmrec_fast.reproduce.results import METRICS


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(queue, "POLL_SECONDS", 0.01)


def asked(data: Path, *words: object) -> list[object]:
    grid = ["--models", "lightgcn", "--align", "none", "contrastive", "--seeds", 1, 2]
    return ["reproduce", "--data", data, *grid, *SETTINGS, "--no-pages", *words]


@pytest.fixture
def trained_at_once(trained, monkeypatch):
    """The queue copies runs that were trained before."""

    def command(cell, threads):
        source = next(own.path for own in trained if own.name == cell.name)
        return ["cp", "-r", str(source), str(cell.path)]

    monkeypatch.setattr(queue, "train_command", command)


class Links(HTMLParser):
    """Every link of a page, and all of its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.text: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value for name, value in attrs if name in ("href", "src") and value]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_a_study_leaves_tables_files_and_an_index(data, trained_at_once) -> None:
    result = call(*asked(data, "-o", "study"))
    assert result.exit_code == 0, result.output
    content = json.loads(Path("study/results.json").read_text())
    assert [run["name"] for run in content["runs"]] == [
        "toy-lightgcn-1",
        "toy-lightgcn-contrastive-1",
        "toy-lightgcn-2",
        "toy-lightgcn-contrastive-2",
    ]
    assert {run["state"] for run in content["runs"]} == {"finished"}
    assert len(content["significance"]) == len(METRICS)
    assert content["overlap"]["toy"]["rows"][0]["runs"] == {"none": 2, "contrastive": 2}
    table = list(csv.DictReader(Path("study/results.csv").read_text().splitlines()))
    for row, line in zip(content["results"], table, strict=True):
        assert (line["model"], line["align"], line["runs"]) == (row["model"], row["align"], "2")
        for name in METRICS:
            assert float(line[name]) == row["means"][name]
            assert float(line[f"{name} deviation"]) == row["deviations"][name]
    page = Links(Path("study/index.html").read_text())
    assert {"results.json", "results.csv", "toy-lightgcn-1/config.yaml"} <= set(page.links)
    for link in page.links:
        assert Path("study", unquote(link)).exists(), link
    shown = " ".join(page.text)
    value = f"{content['results'][0]['means']['recall@20']:.4f}"
    assert value in shown
    assert value in result.stdout
    assert "toy: significance" in result.stdout
    assert "toy: overlap with the texts" in result.stdout


def test_finished_studies_and_runs_are_taken_as_they_are(data, trained, monkeypatch) -> None:
    monkeypatch.setattr(queue, "train_command", lambda *_: ["false"])
    folder = trained[0].path.parent
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    words = asked(data, "-o", "study", "--runs", folder)
    shown = call(*words, "--dry-run").stdout
    assert shown.count("finished in ") == 4
    assert not Path("study").exists()
    first = json.loads(call(*words, "--json").stdout)
    assert first["runs"][0]["path"] == os.path.relpath(folder / "toy-lightgcn-1", "study")
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    page = Links(Path("study/index.html").read_text())
    assert all(Path("study", unquote(link)).exists() for link in page.links)
    shutil.copytree(folder, "copied", dirs_exist_ok=True)
    second = json.loads(call(*asked(data, "-o", "copied", "--json")).stdout)
    assert second["results"] == first["results"]
    assert second["significance"] == first["significance"]


def test_failed_runs_are_listed_and_end_with_code_4(data, trained, monkeypatch) -> None:
    real = queue.train_command

    def command(cell, threads):
        if cell.name == "toy-lightgcn-contrastive-1":
            return ["sh", "-c", "echo 'error: <no> vectors' >&2; exit 2"]
        source = next(own.path for own in trained if own.name == cell.name)
        return ["cp", "-r", str(source), str(cell.path)]

    monkeypatch.setattr(queue, "train_command", command)
    result = call(*asked(data, "-o", "study", "--json"))
    assert result.exit_code == 4
    assert "1 of 4 runs failed (toy-lightgcn-contrastive-1)" in result.stderr.splitlines()[-1]
    content = json.loads(result.stdout)
    (failed,) = [run for run in content["runs"] if run["state"] == "failed"]
    assert failed["reason"] == "<no> vectors"
    assert {tuple(row["seeds"]) for row in content["significance"]} == {(2,)}
    page = Path("study/index.html").read_text()
    assert "failed: &lt;no&gt; vectors" in page
    assert Path("study/toy-lightgcn-contrastive-1.log").read_text() == "error: <no> vectors\n"
    monkeypatch.setattr(queue, "train_command", real)
    result = call(*asked(data, "-o", "study", "--threads", 1))
    assert result.exit_code == 0, result.output


def test_kill_9_at_random_moments_ends_with_the_same_study(data, trained, tmp_path) -> None:
    """The process alone, and all of its trainings with it."""
    words = [sys.executable, "-m", "rlmrec_fast.cli", "reproduce", "--data", str(data)]
    words += ["-o", "study", "--models", "lightgcn", "--align", "none", "--seeds", "1", "2"]
    changes = ["--set", "max_epochs=60", "--set", "eval_every=2", "--set", "patience=100"]
    changes += ["--set", "dim=4", "--set", "batch_size=100"]
    words += [*changes, "--no-pages", "--jobs", "2"]
    rng = random.Random(4)

    def epochs() -> int:
        return sum(path.read_bytes().count(b"\n") for path in Path("study").glob("*/metrics.jsonl"))

    for trainings_too in (True, False):
        before = epochs() if Path("study").exists() else 0
        process = subprocess.Popen(words, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        while process.poll() is None and epochs() == before:
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.3))
        children = _children(process.pid)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        for child in children if trainings_too else ():
            os.kill(child, signal.SIGKILL)
    result = subprocess.run(words, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    cells = small_grid(data, tmp_path / "straight", aligns=("none",))
    for cell in cells:
        train(cell, settings=changes)
    found = facts(Path("study"))
    for cell, run in zip(cells, found["runs"], strict=True):
        expected = json.loads((cell.path / "result.json").read_text())
        assert run["test"] == expected["test"]
        assert run["best_epoch"] == expected["best_epoch"]
    names = {path.name for path in Path("study").iterdir()}
    assert not [name for name in names if name.endswith(".aside")]


def _children(pid: int) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True)
    return [int(word) for word in found.stdout.split()]


def test_the_pages_are_those_of_analyze(data, trained, monkeypatch) -> None:
    asked_for = []

    def analyze(words, **_):
        asked_for.append(words)
        out = Path(words[words.index("--out") + 1])
        out.mkdir(parents=True, exist_ok=True)
        (out / "index.html").write_text("a page")
        return subprocess.CompletedProcess(words, 0, b"", b"")

    monkeypatch.setattr(pages.subprocess, "run", analyze)
    monkeypatch.setattr(queue, "train_command", lambda *_: ["false"])
    words = [
        *asked(data, "-o", "study", "--runs", trained[0].path.parent),
        "--pages",
        "--map",
        "pca",
    ]
    for _ in range(2):
        content = json.loads(call(*words, "--json").stdout)
        assert len(asked_for) == 1, "a page made from the same runs stays"
        assert {run["page"] for run in content["runs"]} == {"analysis/toy-lightgcn/index.html"}
    command = asked_for[0]
    assert command[command.index("analyze") + 1 :][:4] == [str(cell.path) for cell in trained]
    assert command[command.index("--map") + 1] == "pca"
    assert "analysis/toy-lightgcn/index.html" in Links(Path("study/index.html").read_text()).links
    call(*words, "--map", "umap")
    assert len(asked_for) == 2

    def fail(words, **_):
        return subprocess.CompletedProcess(words, 2, b"", b"error: no <jinja2>\n")

    monkeypatch.setattr(pages.subprocess, "run", fail)
    shutil.rmtree("study")
    content = json.loads(call(*words, "--json").stdout)
    assert content["pages_failed"] == {"toy-lightgcn": "no <jinja2>"}
    assert "toy-lightgcn: no &lt;jinja2&gt;" in Path("study/index.html").read_text()


def test_a_study_without_texts_has_no_overlap(data, tmp_path) -> None:
    dataset = Dataset.load(data)
    replace(dataset, name="bare", user_vectors=None, item_vectors=None).save("bare")
    words = ["--models", "lightgcn", "--align", "none", "--seeds", 1, "--threads", 1]
    result = call("reproduce", "--data", "bare", *words, *SETTINGS, "-o", "study", "--json")
    assert result.exit_code == 0, result.output
    content = json.loads(result.stdout)
    assert content["overlap"] == {"bare": {"rows": [], "mean_gain": {}}}
    assert content["results"][0]["deviations"] == {}
    assert content["runs"][0]["page"] is None


def test_quick_needs_nothing() -> None:
    shown = call("reproduce", "--quick", "-o", "study", "--dry-run").stdout
    assert shown.count("to be trained") == 6
    assert Dataset.load("study/data").name == "quick"
    shown = call("reproduce", "--quick", "-o", "study", "--dry-run", "--models", "sgl").stdout
    assert "quick-sgl-generative-2023  to be trained" in shown


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "--data must name data sets' folders (got nothing)"),
        (("--data", "nowhere"), "path must be a folder (got nowhere"),
        (("--quick", "--jobs", 0), "--jobs must be at least 1 (got 0)"),
        (("--quick", "--threads", 0), "--threads must be at least 1 (got 0)"),
        (("--quick", "--map", "tsne"), "--map must be umap, pca or pacmap (got 'tsne')"),
        (("--quick", "--set", "seed=1"), "--set: seed must be given as --seeds"),
        (("--quick", "--models", "gru"), "model must be one of"),
        (("--quick", "--align", "con"), "align must be one of none, contrastive, generative"),
        (("--quick", "--runs", "nowhere"), "--runs must name folders of runs (got nowhere)"),
        (("--quick", "--set", "noise=1"), "--set: no model of the grid has noise"),
    ],
)
def test_a_wrong_request_is_refused_in_one_line(words, message) -> None:
    result = call("reproduce", *words)
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_options_take_several_values() -> None:
    app = typer.Typer()
    seen = {}

    @app.command(cls=ManyValues)
    def main(
        seeds: list[int] = typer.Option([]),  # noqa: B008
        models: list[str] = typer.Option([]),  # noqa: B008
        epochs: int = typer.Option(1, "-e", "--epochs"),
    ) -> None:
        seen.update(seeds=seeds, models=models, epochs=epochs)

    from typer.testing import CliRunner

    line = "--seeds 1 2 -e 3 --models=a --seeds -3 --models b c -e 3"
    result = CliRunner().invoke(app, line.split())
    assert result.exit_code == 0, result.output
    assert seen == {"seeds": [1, 2, -3], "models": ["a", "b", "c"], "epochs": 3}
    assert CliRunner().invoke(app, ["--epochs", "3", "4"]).exit_code == 2


def test_the_help_has_examples() -> None:
    shown = call("reproduce", "--help").stdout
    assert "Example: rlmrec-fast reproduce" in re.sub(r"\s+", " ", shown)
    assert "Exit codes:" in shown
