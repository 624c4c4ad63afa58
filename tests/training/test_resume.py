"""A run may end at any moment; what it leaves must go on to the very bits of an unbroken run."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from small_runs import make_dataset, make_settings

from rlmrec_fast.training.checkpoint import load_tensors
from rlmrec_fast.training.model import create_model
from rlmrec_fast.training.run import RunConfig, RunFolder
from rlmrec_fast.training.trainer import Trainer


class Killed(BaseException):
    """Stands for kill -9: no handler of the package may catch it."""


def outcome(path: Path) -> dict:
    """All that a run leaves, except times."""
    run = RunFolder.open(path)
    result = run.read_result()
    assert result is not None
    assert result.pop("seconds") > 0
    records = run.read_metrics()
    assert all(record.pop("seconds") > 0 for record in records)
    files = {"config": run.config_path.read_text(), "result": result, "metrics": records}
    for file in (run.last_path, run.best_path):
        tensors, header = load_tensors(file)
        header.get("state", {}).pop("seconds", None)
        files[file.name] = ({name: tensor.tolist() for name, tensor in tensors.items()}, header)
    left = {path.name for path in run.path.iterdir()}
    assert left == {
        "best.safetensors",
        "config.yaml",
        "last.safetensors",
        "metrics.jsonl",
        "result.json",
        "train.log",
    }
    return files


class Executioner:
    """Counts the moments at which a run could be killed, and kills it at one of them.

    The moments are before and after every rename, before and after every line of the metrics, and
    in the middle of such a line.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, moment: int | None) -> None:
        self.count = 0
        self.moment = moment
        replace, append, unlink = os.replace, RunFolder.append_metrics, Path.unlink

        def replacing(source, target):
            self.pass_by()
            replace(source, target)
            self.pass_by()

        def appending(run, record):
            self.pass_by()
            try:
                self.pass_by()
            except Killed:
                with run.metrics_path.open("ab") as file:
                    file.write(b'{"epoch": %d, "rec_lo' % record["epoch"])
                raise
            append(run, record)
            self.pass_by()

        def unlinking(path, missing_ok=False):
            if not self.done:  # the dead do not tidy up
                unlink(path, missing_ok)

        monkeypatch.setattr("os.replace", replacing)
        monkeypatch.setattr(RunFolder, "append_metrics", appending)
        monkeypatch.setattr(Path, "unlink", unlinking)

    @property
    def done(self) -> bool:
        return self.moment is not None and self.count > self.moment

    def pass_by(self) -> None:
        self.count += 1
        if self.count - 1 == self.moment:
            raise Killed


def train(path: Path, config: RunConfig, make_trainer) -> None:
    with RunFolder.create(path, config) as run:
        make_trainer(run).fit()


def resume(path: Path, make_trainer) -> None:
    with RunFolder.open(path, exclusive=True) as run:
        make_trainer(run).fit()


def test_a_run_killed_at_any_write_goes_on_to_the_same_bits(
    tmp_path, config, make_trainer, monkeypatch
):
    train(tmp_path / "whole", config, make_trainer)
    expected = outcome(tmp_path / "whole")
    with monkeypatch.context() as patch:
        counter = Executioner(patch, None)
        train(tmp_path / "counted", config, make_trainer)
    assert counter.count > 30
    for moment in range(counter.count):
        path = tmp_path / str(moment)
        with monkeypatch.context() as patch:
            Executioner(patch, moment)
            with pytest.raises(Killed):
                train(path, config, make_trainer)
        if not (path / "config.yaml").exists():
            train(path, config, make_trainer)  # nothing was started yet
        else:
            resume(path, make_trainer)
        assert outcome(path) == expected, f"after kill {moment}"


def test_a_run_killed_again_while_resuming_goes_on_to_the_same_bits(
    tmp_path, config, make_trainer, monkeypatch
):
    train(tmp_path / "whole", config, make_trainer)
    path = tmp_path / "killed"
    with monkeypatch.context() as patch:
        Executioner(patch, 14)
        with pytest.raises(Killed):
            train(path, config, make_trainer)
    for moment in (0, 1, 2, 5, 9):
        with monkeypatch.context() as patch:
            Executioner(patch, moment)
            with pytest.raises(Killed):
                resume(path, make_trainer)
    resume(path, make_trainer)
    assert outcome(path) == outcome(tmp_path / "whole")


def test_a_run_stopped_inside_an_epoch_goes_on_to_the_same_bits(tmp_path, config, make_trainer):
    train(tmp_path / "whole", config, make_trainer)
    with RunFolder.create(tmp_path / "stopped", config) as run:
        trainer = make_trainer(run)
        terms = trainer.model.terms

        def interrupting(batch, seed, step):
            if trainer.state.epoch == 4:
                raise KeyboardInterrupt
            return terms(batch, seed, step)

        trainer.model.terms = interrupting
        with pytest.raises(KeyboardInterrupt):
            trainer.fit()
        before = load_tensors(run.last_path)[1]["state"]["seconds"]
    resume(tmp_path / "stopped", make_trainer)
    assert outcome(tmp_path / "stopped") == outcome(tmp_path / "whole")
    records = run.read_metrics()
    spent = run.read_result()["seconds"]
    assert spent > before + sum(record["seconds"] for record in records if record["epoch"] > 4)


def test_a_checkpoint_between_evaluations_keeps_the_best_weights(
    tmp_path, config, make_trainer, monkeypatch
):
    train(tmp_path / "whole", config, make_trainer)
    monkeypatch.setattr("rlmrec_fast.training.trainer.CHECKPOINT_SECONDS", 0.0)
    with RunFolder.create(tmp_path / "often", config) as run:
        trainer = make_trainer(run)
        save = trainer._save

        def save_and_die():
            save()
            if trainer.state.epoch == 5:
                raise Killed

        trainer._save = save_and_die
        with pytest.raises(Killed):
            trainer.fit()
        assert load_tensors(run.last_path)[1]["state"]["epoch"] == 5
    resume(tmp_path / "often", make_trainer)
    assert outcome(tmp_path / "often") == outcome(tmp_path / "whole")


@pytest.mark.parametrize("damage", ["missing", "truncated", "older"])
def test_the_best_checkpoint_is_written_again_from_the_last(tmp_path, config, make_trainer, damage):
    train(tmp_path / "run", config, make_trainer)
    expected = outcome(tmp_path / "run")
    run = RunFolder.open(tmp_path / "run")
    run.result_path.unlink()
    best = run.best_path.read_bytes()
    if damage == "missing":
        run.best_path.unlink()
    elif damage == "truncated":
        run.best_path.write_bytes(best[:50])
    else:
        run.best_path.write_bytes(run.last_path.read_bytes())
    resume(run.path, make_trainer)
    assert outcome(run.path) == expected


def test_a_damaged_last_checkpoint_is_told_and_nothing_changes(tmp_path, config, make_trainer):
    train(tmp_path / "run", config, make_trainer)
    run = RunFolder.open(tmp_path / "run")
    run.result_path.unlink()
    run.last_path.write_bytes(run.last_path.read_bytes()[:-9])
    before = {path.name: path.read_bytes() for path in run.path.iterdir()}
    with pytest.raises(ValueError, match=r"last\.safetensors must be a whole checkpoint"):
        resume(run.path, make_trainer)
    assert {path.name: path.read_bytes() for path in run.path.iterdir()} == before


def test_a_finished_run_is_left_as_it_is_and_gives_its_result_again(tmp_path, config, make_trainer):
    with RunFolder.create(tmp_path / "run", config) as run:
        first = make_trainer(run).fit()
        before = {path.name: path.read_bytes() for path in run.path.iterdir()}
        trainer = make_trainer(run)
        assert trainer.fit() == first
    assert {path.name: path.read_bytes() for path in run.path.iterdir()} == before
    weights = load_tensors(run.best_path)[0]
    assert torch.equal(trainer.model.backbone.embedding, weights["backbone.embedding"])


def test_a_result_that_is_none_is_told(tmp_path, config, make_trainer):
    train(tmp_path / "run", config, make_trainer)
    (tmp_path / "run" / "result.json").write_text('{"best": 3}')
    with pytest.raises(ValueError, match=r"result\.json must be a result \(got .*best"):
        resume(tmp_path / "run", make_trainer)


def test_a_process_killed_at_random_moments_goes_on_to_the_same_bits(tmp_path):
    data = make_dataset(users=120, items=90)
    data.save(tmp_path / "data")
    settings = make_settings(max_epochs=120, patience=1000)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    config = RunConfig.of(settings, "default", data, tmp_path / "data")
    with RunFolder.create(whole, config) as run:
        Trainer(create_model(settings, data), data, settings, run).fit()

    program = [sys.executable, "-m", "rlmrec_fast.cli", "train"]
    command = [*program, "--data", str(tmp_path / "data"), "--out", str(killed), "--threads", "1"]
    for name, value in settings.used().items():
        if name not in ("model", "align"):
            command += ["--set", f"{name}={value}"]
    choice = random.Random(7)
    for epoch in (20, 70):
        words = [*command, "--resume"] if killed.exists() else command
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for_lines(process, killed / "metrics.jsonl", epoch + choice.randrange(20))
        time.sleep(choice.random() * 0.01)
        process.kill()
        assert process.wait() == -signal.SIGKILL, "the run ended before it could be killed"
        assert not (killed / "result.json").exists()
    subprocess.run([*command, "--resume"], check=True, capture_output=True)
    assert outcome(killed) == outcome(whole)


def wait_for_lines(process: subprocess.Popen, path: Path, count: int) -> None:
    while process.poll() is None:
        if path.exists() and path.read_bytes().count(b"\n") >= count:
            return
        time.sleep(0.001)
