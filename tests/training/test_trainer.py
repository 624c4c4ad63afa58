from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from small_runs import make_dataset, make_settings

from rlmrec_fast.alignment import Recommender
from rlmrec_fast.backbones import LightGCN
from rlmrec_fast.data import Dataset
from rlmrec_fast.training.evaluation import evaluate
from rlmrec_fast.training.model import create_model
from rlmrec_fast.training.run import RunFolder
from rlmrec_fast.training.trainer import DivergenceError, Trainer


def test_an_epoch_visits_every_interaction_once_and_no_negative_is_a_positive(
    make_trainer, dataset
):
    trainer = make_trainer(batch_size=100)
    known = set(zip(*(ids.tolist() for ids in dataset.train.nonzero()), strict=True))
    orders = []
    for epoch in (1, 2):
        batches = trainer.batches(epoch)
        *full, last = [len(batch.users) for batch in batches]
        assert set(full) == {100}
        assert 1 <= last <= 100
        users, positives, negatives = (
            torch.cat(column).tolist() for column in zip(*batches, strict=True)
        )
        visited = Counter(zip(users, positives, strict=True))
        assert visited == Counter(known)
        assert known.isdisjoint(zip(users, negatives, strict=True))
        orders.append((users, positives, negatives))
    assert orders[0][:2] != orders[1][:2]
    assert sorted(orders[0][2]) != sorted(orders[1][2])


def test_an_epoch_takes_the_steps_of_adam_on_the_loss_of_every_batch(make_trainer, dataset):
    trainer = make_trainer(num_layers=1, keep_rate=1.0, reg_weight=0.01, batch_size=150)
    table = trainer.model.backbone.embedding.detach().double().requires_grad_()
    optimizer = torch.optim.Adam([table], lr=trainer.settings.learning_rate)
    users, items = dataset.train.shape
    adjacency = torch.zeros(users + items, users + items, dtype=torch.float64)
    adjacency[:users, users:] = torch.from_numpy(dataset.train.toarray())
    adjacency += adjacency.T.clone()
    scale = adjacency.sum(1).clamp(min=1).rsqrt()
    adjacency = scale[:, None] * adjacency * scale
    expected = []
    for batch in trainer.batches(1):
        user, item = (table + adjacency @ table).split([users, items])
        margin = (user[batch.users] * (item[batch.negatives] - item[batch.positives])).sum(1)
        terms = torch.nn.functional.softplus(margin).mean(), 0.01 * table.square().sum()
        optimizer.zero_grad()
        sum(terms).backward()
        optimizer.step()
        expected.append([term.item() for term in terms])
    losses = trainer.train_epoch(1)
    assert [losses["rec_loss"], losses["reg_loss"]] == pytest.approx(
        np.mean(expected, axis=0), rel=1e-5
    )
    assert losses["cl_loss"] == losses["infomax_loss"] == 0
    torch.testing.assert_close(
        trainer.model.backbone.embedding.detach().double(), table.detach(), rtol=1e-3, atol=1e-4
    )


def test_steps_of_an_epoch_and_epochs_have_seeds_of_their_own(make_trainer):
    trainer = make_trainer()
    seeds = []
    terms = trainer.model.terms
    trainer.model.terms = lambda *args: (seeds.append(args[1]), terms(*args))[1]
    trainer.train_epoch(1)
    trainer.train_epoch(2)
    assert len(seeds) == 2 * len(trainer.batches(1))
    assert len(set(seeds)) == len(seeds)


def test_training_drops_edges_whatever_mode_the_model_came_in(make_trainer):
    trainers = [make_trainer(keep_rate=0.5) for _ in range(3)]
    trainers[1].model.eval()
    trainers[2].model.backbone.keep_rate = 1.0
    losses = [trainer.train_epoch(1)["rec_loss"] for trainer in trainers]
    assert losses[0] == losses[1] != losses[2]


def checkerboard(users: int = 40, items: int = 30) -> Dataset:
    """Even users like even items and odd users odd items; some of each are held out."""
    likes = np.add.outer(np.arange(users), np.arange(items)) % 2 == 0
    part = np.random.default_rng(0).permuted(np.resize([0, 0, 0, 1, 2], (users, items)), axis=1)
    return Dataset("checkerboard", *(sp.csr_array(likes & (part == split)) for split in range(3)))


def test_a_checkerboard_is_learned():
    dataset = checkerboard()
    settings = make_settings(max_epochs=30, learning_rate=0.05, dim=4)
    model = create_model(settings, dataset)
    before = evaluate(*model.final(), dataset.train, dataset.test)
    result = Trainer(model, dataset, settings).fit()
    assert before["recall@10"] < 0.8
    # A user has about nine items of the own colour left to rank, three of them in test.
    assert result.test["recall@10"] > 0.99
    users, items = model.final()
    likes = (users @ items.T).numpy() > 0
    assert likes[::2, ::2].all()
    assert likes[1::2, 1::2].all()
    assert not likes[::2, 1::2].any()


def test_the_best_weights_are_evaluated_not_the_last(make_trainer, dataset):
    trainer = make_trainer(max_epochs=40, patience=4, learning_rate=0.1, eval_every=3)
    tables = {}
    validate = trainer.validation

    def spy(users, items):
        tables[trainer.state.epoch] = (users.clone(), items.clone())
        return validate(users, items)

    trainer.validation = spy
    result = trainer.fit()
    scores = {
        epoch: evaluate(*pair, dataset.train, dataset.validation) for epoch, pair in tables.items()
    }
    best = max(scores, key=lambda epoch: (scores[epoch]["recall@20"], -epoch))
    assert result.best_epoch == best
    assert result.epochs == best + 4 * 3, "the run must have stopped by patience"
    assert result.validation == scores[best]
    assert result.test == evaluate(*tables[best], dataset.train, dataset.test)
    assert all(map(torch.equal, trainer.model.final(), tables[best]))


def test_evaluation_happens_every_so_many_epochs_and_after_the_last(make_trainer, config, tmp_path):
    config = config.model_copy(update={"settings": make_settings(max_epochs=7, eval_every=3)})
    with RunFolder.create(tmp_path / "run", config) as run:
        result = make_trainer(run).fit()
        records = run.read_metrics()
    assert [record["epoch"] for record in records] == list(range(1, 8))
    assert [record["epoch"] for record in records if "recall@20" in record] == [3, 6, 7]
    names = {f"{name}@{k}" for name in ("recall", "ndcg") for k in (5, 10, 20)}
    terms = {"epoch", "rec_loss", "reg_loss", "cl_loss", "infomax_loss", "seconds"}
    assert set(records[0]) == terms
    assert set(records[2]) == terms | names
    stored = json.loads(run.result_path.read_text())
    assert stored["test"] == result.test
    assert stored["best_epoch"] == result.best_epoch
    assert stored["epochs"] == 7


def fitted_table(dataset: Dataset, threads: int, **changes) -> torch.Tensor:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        settings = make_settings(max_epochs=3, eval_every=1, **changes)
        model = create_model(settings, dataset)
        Trainer(model, dataset, settings).fit()
        return model.backbone.embedding.detach()
    finally:
        torch.set_num_threads(before)


def test_the_same_seed_gives_the_same_bits_for_any_number_of_threads():
    # Large and odd enough that work is shared out between threads, with rests at every border.
    dataset = make_dataset(users=401, items=333)
    tables = [
        fitted_table(dataset, threads, dim=33, batch_size=5000, seed=seed)
        for threads, seed in ((1, 7), (2, 7), (3, 7), (2, 8))
    ]
    assert torch.equal(tables[0], tables[1])
    assert torch.equal(tables[0], tables[2])
    assert not torch.equal(tables[0], tables[3])


def test_a_loss_that_is_not_finite_stops_with_epoch_and_term(make_trainer):
    trainer = make_trainer(batch_size=10_000)
    reg_loss = trainer.model.reg_loss
    trainer.model.reg_loss = lambda: (
        reg_loss() * (float("nan") if trainer.state.epoch == 2 else 1.0)
    )
    with pytest.raises(DivergenceError, match=r"reg_loss must be finite \(got nan in epoch 3"):
        trainer.fit()


def test_a_diverging_run_keeps_its_last_good_checkpoint(make_trainer, config, tmp_path):
    with RunFolder.create(tmp_path / "run", config) as run:
        trainer = make_trainer(run)
        terms = trainer.model.terms
        infinite = torch.tensor(float("inf"))
        trainer.model.terms = lambda batch, seed, step: (
            terms(batch, seed, step) | ({"cl_loss": infinite} if trainer.state.epoch == 3 else {})
        )
        with pytest.raises(DivergenceError, match=r"cl_loss must be finite \(got inf in epoch 4"):
            trainer.fit()
        assert len(run.read_metrics()) == 3
        result = make_trainer(run).fit()
    assert result.test == make_trainer().fit().test


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_an_empty_split_is_refused_by_name(dataset, split):
    empty = sp.csr_array(dataset.train.shape)
    parts = {name: getattr(dataset, name) for name in ("train", "validation", "test")}
    emptied = Dataset("tiny", **parts | {split: empty})
    model = create_model(make_settings(), emptied)
    with pytest.raises(ValueError, match=f"Trainer: {split} must have at least one interaction"):
        Trainer(model, emptied, make_settings())


def test_a_graph_of_another_size_is_refused(dataset):
    model = Recommender(LightGCN(create_model(make_settings(), make_dataset(users=41)).graph))
    with pytest.raises(ValueError, match=r"must have the data set's \(40, 30\).*got \(41, 30\)"):
        Trainer(model, dataset, make_settings())


def test_a_run_of_other_settings_or_data_is_refused(config, dataset, tmp_path):
    with RunFolder.create(tmp_path / "run", config) as run:
        other = make_settings(dim=9)
        with pytest.raises(ValueError, match=r"dim must be 8 as in the run \(got 9\)"):
            Trainer(create_model(other, dataset), dataset, other, run)
        data = make_dataset(seed=1)
        with pytest.raises(ValueError, match="which differs in: train, validation, test"):
            Trainer(create_model(make_settings(), data), data, make_settings(), run)


def test_no_step_waits_for_its_loss(make_trainer, monkeypatch):
    """Reading a value from a device stops it; an epoch may do so once, after its last step."""
    trainer = make_trainer(batch_size=50)
    reads = []
    for name in ("item", "tolist", "__float__", "__bool__"):
        original = getattr(torch.Tensor, name)
        monkeypatch.setattr(
            torch.Tensor,
            name,
            lambda self, _original=original: (reads.append(self), _original(self))[1],
        )
    trainer.train_epoch(1)
    assert len(reads) == 1
