from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

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


def test_rlmrecs_files_are_imported_and_described(rlmrec_folder: Path, tmp_path: Path) -> None:
    result = run("import", rlmrec_folder, tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    assert "users=3, items=4" in result.stdout
    assert Dataset.load(tmp_path / "out").name == "books"
    described = run("info", tmp_path / "out")
    assert described.exit_code == 0
    assert "interactions  9: train 4, validation 2, test 3" in described.stdout
    assert "density       33.333% (training)" in described.stdout
    assert "2 x float32" in described.stdout


def test_info_as_json_is_json_of_either_folder(rlmrec_folder: Path, tmp_path: Path) -> None:
    run("import", rlmrec_folder, tmp_path / "out")
    ours = json.loads(run("info", tmp_path / "out", "--json").stdout)
    theirs = json.loads(run("info", rlmrec_folder, "--json").stdout)
    assert ours == theirs
    assert ours["num_items"] == 4


def test_info_shows_a_name_with_markup_as_it_is(dataset: Dataset, tmp_path: Path) -> None:
    odd = Dataset("[bold]x[/]", dataset.train, dataset.train, dataset.test, source="[red]")
    odd.save(tmp_path / "odd")
    shown = run("info", tmp_path / "odd").stdout
    assert "[bold]x[/]" in shown
    assert "[red]" in shown
    assert "split overlap train/validation 4" in shown


def test_synthetic_data_follow_the_options(tmp_path: Path) -> None:
    options = ("--users", 12, "--items", 9, "--interactions", 70, "--seed", 3)
    assert run("synth", tmp_path / "a", *options).exit_code == 0
    summary = json.loads(run("info", tmp_path / "a", "--json").stdout)
    assert (summary["num_users"], summary["num_items"]) == (12, 9)
    assert summary["interactions"]["total"] == 70
    assert run("synth", tmp_path / "b", *options).exit_code == 0
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


def test_impossible_sizes_end_as_one_line(tmp_path: Path) -> None:
    message = refused(run("synth", tmp_path / "out", "--users", 10, "--interactions", 20))
    assert "interactions must be in [50, 10000] (got 20)" in message
    assert not (tmp_path / "out").exists()


def test_nothing_is_overwritten_unless_asked_for(tmp_path: Path) -> None:
    options = ("--users", 5, "--items", 6, "--interactions", 25)
    assert run("synth", tmp_path / "out", *options).exit_code == 0
    assert "must not exist" in refused(run("synth", tmp_path / "out", *options))
    assert run("synth", tmp_path / "out", *options, "--overwrite").exit_code == 0


def test_a_missing_folder_ends_as_one_line(tmp_path: Path) -> None:
    assert "must be a folder" in refused(run("info", tmp_path / "none"))
    assert "must be a folder" in refused(run("import", tmp_path / "none", tmp_path / "out"))


def test_a_malicious_pickle_is_refused_by_name_and_runs_nothing(
    rlmrec_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Bad:
        def __reduce__(self) -> tuple[object, ...]:
            return os.system, ("touch marker",)

    monkeypatch.chdir(tmp_path)
    (rlmrec_folder / "itm_prf.pkl").write_bytes(pickle.dumps(Bad()))
    message = refused(run("import", rlmrec_folder, tmp_path / "out"))
    assert "itm_prf.pkl" in message
    assert "posix.system" in message
    assert sorted(os.listdir(tmp_path)) == ["books"]


@pytest.mark.parametrize("command", ["prepare", "download", "import", "synth", "info"])
def test_every_command_explains_itself_with_an_example(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert "Example: rlmrec-fast data " in result.stdout
