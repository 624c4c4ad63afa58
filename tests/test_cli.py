from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
import scipy.sparse as sp
import yaml
from typer.testing import CliRunner

from rlmrec_fast.backbones import BACKBONES
from rlmrec_fast.cli import app
from rlmrec_fast.data import Dataset
from rlmrec_fast.data.synthetic import synthesize

FAST = ["--epochs", "4", "--set", "eval_every=2", "--set", "dim=8", "--set", "batch_size=1000"]


def call(*words: object):
    return CliRunner().invoke(app, [str(word) for word in words])


def refused(*words: object) -> str:
    """The one line that a command is refused with."""
    result = call(*words)
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert not result.stdout
    return result.stderr


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "toy"
    synthesize(150, 80, 3000, seed=1).save(path)
    return path


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    path = tmp_path_factory.mktemp("runs") / "run"
    result = call("train", "--data", data, "--model", "lightgcn", "--out", path, *FAST)
    assert result.exit_code == 0, result.output
    assert "recall@20" in result.stdout
    assert "preset default" in result.stderr
    return path


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_training_leaves_a_complete_run(run, data):
    names = {path.name for path in run.iterdir()}
    assert names == {
        "best.safetensors",
        "config.yaml",
        "last.safetensors",
        "metrics.jsonl",
        "result.json",
        "train.log",
    }
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["data"]["path"] == str(data)
    assert config["preset"] == "default"
    assert config["settings"]["max_epochs"] == 4
    assert config["settings"]["reg_weight"] == 1e-6
    assert set(config["versions"]) == {"rlmrec_fast", "torch", "numpy", "python"}
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 4
    assert "epoch    4" in (run / "train.log").read_text()


def test_a_run_is_named_after_data_model_and_seed(data):
    assert call("train", "--data", data, "--seed", 7, *FAST).exit_code == 0
    name = json.loads((data / "dataset.json").read_text())["name"]
    config = yaml.safe_load(Path(f"runs/{name}-lightgcn-7/config.yaml").read_text())
    assert config["settings"]["seed"] == 7


def test_a_preset_is_taken_by_the_name_of_the_folder_or_on_request(data):
    Path("steam").symlink_to(data)
    for words in (["--data", "steam"], ["--data", data, "--preset", "steam"]):
        result = call("train", *words, "--out", "run", "--overwrite", *FAST)
        assert result.exit_code == 0, result.output
        assert "preset steam" in result.stderr
        config = yaml.safe_load(Path("run/config.yaml").read_text())
        assert (config["preset"], config["settings"]["num_layers"]) == ("steam", 2)


def test_an_existing_run_is_replaced_only_when_told(run, data):
    words = ["train", "--data", data, "--out", "run", *FAST]
    assert call(*words).exit_code == 0
    before = Path("run/result.json").read_bytes()
    message = refused(*words)
    assert "must not hold a run already" in message
    assert "--resume" in message
    assert "--overwrite" in message
    assert Path("run/result.json").read_bytes() == before
    assert call(*words, "--overwrite", "--seed", "1").exit_code == 0
    assert Path("run/result.json").read_bytes() != before


def test_a_finished_run_says_so_and_stays_as_it_is(run):
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    result = call("train", "--resume", "--out", run)
    assert result.exit_code == 0
    assert "is finished: nothing to do" in result.stderr
    assert "recall@20" in result.stdout
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before


def test_resuming_keeps_the_settings_of_the_run(run, data):
    resume = ["train", "--resume", "--out", run]
    assert call(*resume, "--data", data, "--model", "lightgcn", *FAST).exit_code == 0
    assert "must keep the run's dim 8 (got 9)" in refused(*resume, "--set", "dim=9")
    assert "must keep the run's max_epochs 4 (got 9)" in refused(*resume, "--epochs", "9")
    assert "must keep the run's model lightgcn (got gccf)" in refused(*resume, "--model", "gccf")
    assert "must keep the run's preset default (got yelp)" in refused(*resume, "--preset", "yelp")
    assert "must keep the run's seed 2023 (got 1)" in refused(*resume, "--seed", "1")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model", "gru"], f"model must be one of {', '.join(BACKBONES)} (got 'gru')"),
        (
            ["--model", "gccf", "--set", "keep_rate=0.5"],
            "keep_rate must not be set for gccf with align none",
        ),
        (
            ["--model", "sgl", "--set", "augmentation=coin"],
            "augmentation must be 'edge_drop', 'node_drop' or 'random_walk' (got 'coin')",
        ),
        (
            ["--align", "cosine"],
            "align must be one of none, contrastive, generative (got 'cosine')",
        ),
        (["--set", "dim=0"], "dim must be greater than or equal to 1 (got '0')"),
        (["--set", "keep_rate=2"], "keep_rate must be less than or equal to 1 (got '2')"),
        (["--set", "layers=2"], "did you mean num_layers?"),
        (["--set", "dim"], "must be given as key=value (got 'dim')"),
        (["--set", "seed=1", "--seed", "1"], "seed must be given once"),
        (["--set", "model=sgl"], "model must be given as --model"),
        (["--epochs", "0"], "max_epochs must be greater than or equal to 1 (got 0)"),
        (["--preset", "netflix"], "name must be one of amazon, yelp, steam, default"),
        (["--threads", "0"], "--threads must be at least 1 (got 0)"),
        (["--device", "tpu"], "--device must be cpu or cuda (got 'tpu')"),
        (["--device", "cuda:99"], "--device must be available here (got 'cuda:99'"),
        (["--cuda-graph"], "--cuda-graph must come with --device cuda (got --device cpu)"),
        (["--resume", "--overwrite"], "--resume and --overwrite must not be given together"),
        (["--resume", "--out", "nowhere"], "nowhere must be a run folder (got no config.yaml"),
    ],
)
def test_a_wrong_request_is_refused_in_one_line_and_leaves_nothing(data, words, message):
    assert message in refused("train", "--data", data, *words)
    assert not list(Path.cwd().iterdir())


def test_missing_data_is_refused():
    assert "--data must name a data set's folder" in refused("train")
    assert "path must be a folder (got nowhere, nothing there)" in refused(
        "train", "--data", "nowhere"
    )
    assert "--resume needs --out RUN, or the --data" in refused("train", "--resume")


def test_a_damaged_checkpoint_is_refused_in_one_line(data):
    call("train", "--data", data, "--out", "run", *FAST)
    best = Path("run/best.safetensors")
    best.write_bytes(best.read_bytes()[:-3])
    assert "best.safetensors must be a whole checkpoint" in refused("evaluate", "run")


def test_a_data_set_without_validation_does_not_cost_an_existing_run(data):
    dataset = Dataset.load(data)
    replace(dataset, validation=sp.csr_array(dataset.train.shape)).save("unsplit")
    words = ["--out", "run", *FAST]
    assert call("train", "--data", data, *words).exit_code == 0
    before = {path.name: path.read_bytes() for path in Path("run").iterdir()}
    message = refused("train", "--data", "unsplit", "--overwrite", *words)
    assert "validation must have at least one interaction (got none)" in message
    assert {path.name: path.read_bytes() for path in Path("run").iterdir()} == before


def test_a_diverging_run_ends_with_the_epoch_and_the_term(data):
    words = ["--set", "learning_rate=1e30", "--threads", 1, *FAST]
    result = call("train", "--data", data, "--out", "run", *words)
    assert result.exit_code == 2
    *_, line = result.stderr.splitlines()
    assert line.startswith("error: Trainer: ")
    assert "must be finite" in line
    assert "in epoch 1; try a learning_rate below 1e+30" in line
    assert "must be finite" in Path("run/train.log").read_text()


def test_evaluate_prints_the_metrics_of_training_again(run):
    expected = json.loads((run / "result.json").read_text())
    for split in ("test", "validation"):
        found = json.loads(call("evaluate", run, "--split", split, "--json").stdout)
        assert found == {
            "run": str(run),
            "split": split,
            "epoch": expected["best_epoch"],
            "finished": True,
            **expected[split],
        }
    assert f"{expected['test']['ndcg@20']:.4f}" in call("evaluate", run).stdout
    assert "split must be one of validation, test" in refused("evaluate", run, "--split", "train")
    assert "must be a run folder" in refused("evaluate", "nowhere")


def test_recommend_prints_original_ids_and_titles(run, data):
    dataset = Dataset.load(data)
    user = dataset.users["id"][3]
    found = json.loads(call("recommend", run, "--user", user, "-k", 5, "--json").stdout)
    assert found["user"] == user
    assert len(found["items"]) == 5
    seen = set(dataset.train[[3]].indices.tolist())
    for item in found["items"]:
        assert item["item"] not in seen
        assert item["id"] == dataset.items["id"][item["item"]]
        assert item["title"] == dataset.items["title"][item["item"]]
    scores = [item["score"] for item in found["items"]]
    assert scores == sorted(scores, reverse=True)
    table = call("recommend", run, "--user", user, "-k", 5).stdout
    assert all(item["id"] in table for item in found["items"])
    assert "user must be an original id of" in refused("recommend", run, "--user", "nobody")
    assert "k must be at least 1 (got 0)" in refused("recommend", run, "--user", user, "-k", 0)


def test_titles_are_printed_as_they_are(data):
    dataset = Dataset.load(data)
    titles = pl.Series("title", [f"[red]{n}[/] :smile:" for n in range(dataset.num_items)])
    items = dataset.items.with_columns(titles)
    replace(dataset, items=items).save("titled")
    call("train", "--data", "titled", "--out", "run", *FAST)
    user = dataset.users["id"][0]
    assert "[/] :smile:" in call("recommend", "run", "--user", user).stdout


def test_another_data_set_than_the_one_trained_on_is_refused(run):
    synthesize(150, 80, 3000, seed=2).save("other")
    words = ("--data", "other")
    assert "which differs in: train" in refused("evaluate", run, *words)
    assert "which differs in: train" in refused("train", "--resume", "--out", run, *words)


@pytest.mark.parametrize("command", ["train", "evaluate", "recommend", "models"])
def test_every_command_has_help_with_an_example(command):
    assert f"Example: rlmrec-fast {command}" in call(command, "--help").stdout


def test_the_data_commands_are_mounted():
    assert "synth" in call("data", "--help").stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_a_run_that_the_printed_command_continues(data, number):
    program = [sys.executable, "-m", "rlmrec_fast.cli"]
    words = ["train", "--data", str(data), "--out", "a run", *FAST[2:], "--epochs", "500"]
    words += ["--set", "patience=500", "--threads", "1"]
    process = subprocess.Popen(
        [*program, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while process.poll() is None and not Path("a run/last.safetensors").exists():
        time.sleep(0.005)
    process.send_signal(number)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert not output
    assert "Traceback" not in errors
    *_, line = errors.strip().splitlines()
    command = line.removeprefix("interrupted; go on with: ")
    assert command == "rlmrec-fast train --resume --out 'a run' --threads 1"
    assert Path("a run/metrics.jsonl").read_text().count("\n") < 500
    assert call(*shlex.split(command)[1:]).exit_code == 0
    assert json.loads(Path("a run/result.json").read_text())["epochs"] == 500


def test_a_missing_extra_is_told_with_its_cure():
    program = "import sys; sys.modules['typer'] = None; from rlmrec_fast.cli import main; main()"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.returncode == 2
    assert "pip install 'rlmrec-fast[train]'" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.realdata
def test_amazon_trains_from_the_files_of_rlmrec(realdata):
    result = call("train", "--data", realdata / "amazon", "--epochs", 9, "--threads", 1)
    assert result.exit_code == 0, result.output
    assert "11000 users, 9332 items, 120464 training interactions" in result.stderr
    assert "preset amazon" in result.stderr
    run = Path("runs/amazon-lightgcn-2023")
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert records[0]["rec_loss"] > records[8]["rec_loss"]
    # A random ranking finds 0.002; a whole training ends near 0.14.
    assert 0.06 < records[8]["recall@20"] < 0.08
    found = call("evaluate", run, "--split", "validation", "--json")
    assert json.loads(found.stdout)["recall@20"] == records[8]["recall@20"]
