from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch
from small_runs import make_dataset

from rlmrec_fast.data import Dataset
from rlmrec_fast.training.inference import TrainedRun
from rlmrec_fast.training.run import RunConfig, RunFolder
from rlmrec_fast.training.trainer import Trainer


def with_tables(dataset: Dataset) -> Dataset:
    users, items = dataset.train.shape
    return Dataset(
        dataset.name,
        dataset.train,
        dataset.validation,
        dataset.test,
        users=pl.DataFrame({"id": [f"u{n}" for n in range(users)]}),
        items=pl.DataFrame(
            {
                "id": [str(1000 + n) for n in range(items)],
                "title": [None if n == 3 else f"Title {n}" for n in range(items)],
            }
        ),
    )


@pytest.fixture
def trained(tmp_path, dataset, settings, make_trainer) -> TrainedRun:
    """A finished run on a data set with original ids and titles, loaded from disk."""
    data = with_tables(dataset)
    data.save(tmp_path / "data")
    config = RunConfig.of(settings, "default", data, tmp_path / "data")
    with RunFolder.create(tmp_path / "run", config) as run:
        make_trainer(run).fit()
    return TrainedRun.load(tmp_path / "run")


def test_the_result_of_training_is_found_again(trained):
    result = trained.run.read_result()
    assert trained.epoch == result["best_epoch"]
    assert trained.evaluate("test") == result["test"]
    assert trained.evaluate("validation") == result["validation"]


def test_recommendations_are_the_best_items_without_those_of_training(trained):
    scores = trained.user_embedding @ trained.item_embedding.T
    for user in (0, 7, 39):
        seen = trained.dataset.train[[user]].indices
        items = trained.recommend(user, k=6)
        expected = scores[user].clone()
        expected[torch.from_numpy(seen.astype(np.int64))] = -torch.inf
        assert [item.item for item in items] == expected.topk(6).indices.tolist()
        assert [item.score for item in items] == pytest.approx(expected.topk(6).values.tolist())
        for item in items:
            assert item.id == str(1000 + item.item)
            assert item.title == (None if item.item == 3 else f"Title {item.item}")


def test_fewer_items_come_back_where_fewer_are_left(trained):
    seen = len(trained.dataset.train[[5]].indices)
    assert len(trained.recommend(5, k=1000)) == 30 - seen


def test_a_user_is_found_by_the_original_id(trained):
    assert trained.find_user("u12") == 12
    with pytest.raises(ValueError, match=r"original id of tiny, such as 'u0', 'u1'.*got '12'"):
        trained.find_user("12")


def test_without_a_table_a_user_is_an_integer(tmp_path, dataset, settings, make_trainer):
    dataset.save(tmp_path / "data")
    config = RunConfig.of(settings, "default", dataset, tmp_path / "data")
    with RunFolder.create(tmp_path / "run", config) as run:
        make_trainer(run).fit()
    trained = TrainedRun.load(tmp_path / "run")
    assert trained.find_user("12") == 12
    first = trained.recommend(12, k=1)[0]
    assert (first.id, first.title) == (str(first.item), None)
    for text in ("40", "-1", "u1", "", "1.0", "²"):
        with pytest.raises(ValueError, match=r"user must be an integer in \[0, 40\)"):
            trained.find_user(text)


def test_wrong_arguments_are_refused_by_name(trained):
    with pytest.raises(ValueError, match=r"user must be in \[0, 40\) \(got 40\)"):
        trained.recommend(40)
    with pytest.raises(ValueError, match=r"k must be at least 1 \(got 0\)"):
        trained.recommend(0, k=0)
    with pytest.raises(ValueError, match=r"split must be one of validation, test \(got train\)"):
        trained.evaluate("train")


def test_another_data_set_is_refused_by_name(trained, tmp_path):
    make_dataset(seed=1, name="other").save(tmp_path / "other")
    with pytest.raises(ValueError, match=r"trained on, tiny from .*got other, which differs in"):
        TrainedRun.load(trained.run.path, tmp_path / "other")


def test_a_data_set_that_moved_is_accepted(trained, tmp_path):
    (tmp_path / "data").rename(tmp_path / "moved")
    with pytest.raises(FileNotFoundError, match="data"):
        TrainedRun.load(trained.run.path)
    moved = TrainedRun.load(trained.run.path, tmp_path / "moved")
    assert torch.equal(moved.user_embedding, trained.user_embedding)


def test_an_unfinished_run_gives_its_best_weights_so_far(tmp_path, dataset, config, make_trainer):
    dataset.save(tmp_path / "data")
    with RunFolder.create(tmp_path / "run", config) as run:
        with pytest.raises(FileNotFoundError, match=r"best\.safetensors must exist"):
            TrainedRun(run, dataset)
        trainer: Trainer = make_trainer(run)
        trainer.run.write_result = lambda _: (_ for _ in ()).throw(KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt):
            trainer.fit()
    trained = TrainedRun.load(tmp_path / "run")
    assert trained.evaluate("validation") == trainer.state.best_metrics
