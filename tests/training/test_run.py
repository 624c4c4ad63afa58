from __future__ import annotations

import json

import pytest
import yaml
from small_runs import make_dataset, make_settings

from rlmrec_fast.training.run import Fingerprint, RunConfig, RunFolder


def test_a_run_is_read_back_as_it_was_written(tmp_path, config):
    with RunFolder.create(tmp_path / "deep" / "run", config) as run:
        assert RunFolder.open(run.path).config == config
    assert yaml.safe_load(run.config_path.read_text())["settings"]["reg_weight"] == 1e-6


def test_an_existing_run_is_not_overwritten_unless_told(tmp_path, config, dataset):
    with RunFolder.create(tmp_path, config) as run:
        run.append_metrics({"epoch": 1})
        run.write_result({"best_epoch": 1})
        for path in (run.last_path, run.best_path, run.log_path):
            path.write_text("old")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    other = RunConfig.of(make_settings(seed=5), "default", dataset, tmp_path)
    with pytest.raises(FileExistsError, match="give --resume to continue it, --overwrite"):
        RunFolder.create(tmp_path, other)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    (tmp_path / "notes.txt").write_text("mine")
    with RunFolder.create(tmp_path, other, overwrite=True):
        assert {path.name for path in tmp_path.iterdir()} == {"config.yaml", "notes.txt"}
    assert RunFolder.open(tmp_path).config.settings.seed == 5


def test_a_folder_without_a_run_or_with_a_damaged_one_is_refused(tmp_path, config):
    with pytest.raises(FileNotFoundError, match="must be a run folder"):
        RunFolder.open(tmp_path)
    with RunFolder.create(tmp_path, config) as run:
        text = run.config_path.read_text()
    for damaged in (text[:40], "[1", text.replace("dim: 8", "dim: 0"), "", "\x00"):
        run.config_path.write_text(damaged)
        with pytest.raises(ValueError, match=r"config\.yaml must be a run's configuration"):
            RunFolder.open(tmp_path)


def test_two_processes_cannot_write_one_run(tmp_path, config):
    with RunFolder.create(tmp_path, config):
        with pytest.raises(ValueError, match="another process is training in it"):
            RunFolder.open(tmp_path, exclusive=True)
        with pytest.raises(ValueError, match="another process is training in it"):
            RunFolder.create(tmp_path, config, overwrite=True)
        RunFolder.open(tmp_path)  # reading is fine
    RunFolder.open(tmp_path, exclusive=True).close()


def test_a_torn_last_line_of_the_metrics_is_survived(tmp_path, config):
    with RunFolder.create(tmp_path, config) as run:
        for epoch in (1, 2, 3):
            run.append_metrics({"epoch": epoch, "rec_loss": 0.1 + epoch})
        with run.metrics_path.open("ab") as file:
            file.write(b'{"epoch": 4, "rec_l')
        assert [record["epoch"] for record in run.read_metrics()] == [1, 2, 3]
        run.keep_metrics(2)
        run.append_metrics({"epoch": 3})
    lines = run.metrics_path.read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2, 3]
    assert json.loads(lines[1])["rec_loss"] == 2.1


def test_what_a_killed_writer_left_is_cleared_by_the_next_one(tmp_path, config):
    with RunFolder.create(tmp_path, config) as run:
        left = tmp_path / ".last.safetensors.aside"
        left.write_bytes(b"half")
    RunFolder.open(run.path)
    assert left.exists()
    with RunFolder.open(run.path, exclusive=True):
        assert not left.exists()


def test_a_fingerprint_tells_which_part_of_the_data_differs(dataset):
    same = make_dataset(name="renamed")
    assert Fingerprint.of(dataset) == Fingerprint.of(same)
    other = make_dataset()
    test = other.test.tolil()
    test[1, 1] = 1 - test[1, 1]
    object.__setattr__(other, "test", test.tocsr())
    assert Fingerprint.of(dataset).differences(Fingerprint.of(other)) == ["test"]
    wider = Fingerprint.of(make_dataset(items=31))
    assert "items" in Fingerprint.of(dataset).differences(wider)


def test_other_settings_or_data_are_refused_by_name(config, dataset, settings):
    config.check(settings, dataset)
    with pytest.raises(ValueError, match=r"dim must be 8 as in the run \(got 9\)"):
        config.check(make_settings(dim=9), dataset)
    with pytest.raises(ValueError, match=r"tiny from .*data \(got tiny, which differs in: train"):
        config.check(settings, make_dataset(seed=1))


def test_the_identity_depends_on_settings_and_data(config, dataset, tmp_path):
    others = [
        RunConfig.of(make_settings(seed=1), "default", dataset, tmp_path),
        RunConfig.of(make_settings(), "default", make_dataset(seed=1), tmp_path),
    ]
    again = RunConfig.of(make_settings(), "amazon", dataset, tmp_path / "elsewhere")
    assert again.identity == config.identity
    assert config.identity not in {other.identity for other in others}


def test_a_damaged_result_is_told(tmp_path, config):
    with RunFolder.create(tmp_path, config) as run:
        assert run.read_result() is None
        for damaged in ("{", "", "[1]", "3"):
            run.result_path.write_text(damaged)
            with pytest.raises(ValueError, match=r"result\.json must be a result"):
                run.read_result()
