"""What every backbone keeps to with every alignment; a new one is tested by being registered."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import pytest
import torch
from helpers import same_bits
from small_models import make_batch, make_data, make_model, make_settings, total
from torch import Tensor

from rlmrec_fast.alignment import Recommender
from rlmrec_fast.backbones import BACKBONES, Batch
from rlmrec_fast.data import Dataset
from rlmrec_fast.training.checkpoint import load_tensors
from rlmrec_fast.training.inference import TrainedRun
from rlmrec_fast.training.model import ALIGNMENTS, create_model
from rlmrec_fast.training.run import RunConfig, RunFolder
from rlmrec_fast.training.step import create_optimizer, train_step
from rlmrec_fast.training.trainer import TERMS, Trainer

REG_ONLY = {"gccf": {"backbone.weights"}}
"""The parameters of a backbone that no other term than reg depends on."""

RANDOM = {"keep_rate", "noise"}
"""A backbone with one of these settings draws something in a step; others draw nothing."""

EACH = pytest.mark.parametrize("name", BACKBONES)
ANY = pytest.mark.parametrize("align", ALIGNMENTS)


class Case(NamedTuple):
    """A corner: the data, the settings, and what becomes of a batch."""

    data: dict[str, Any]
    changes: dict[str, Any]
    batch: Callable[[Batch], Batch] = lambda batch: batch


def one_triplet(batch: Batch) -> Batch:
    return Batch(*(column[:1] for column in batch))


def equal_items(batch: Batch) -> Batch:
    first = torch.zeros_like(batch.positives)
    return batch._replace(positives=first, negatives=first)


CASES = {
    "plain": Case({}, {}),
    "isolated nodes": Case({"isolated": 4}, {}),
    "d = 1": Case({}, {"dim": 1, "num_heads": 1}),
    "L = 0": Case({}, {"num_layers": 0}),
    "L = 6": Case({}, {"num_layers": 6}),
    "one item": Case({"items": 1, "share": 0.9}, {}, equal_items),
    "one triplet": Case({}, {}, one_triplet),
    "equal items": Case({}, {}, equal_items),
}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Work so small gains nothing from two, and loses much where the machine is shared."""
    torch.set_num_threads(1)


@cache
def data_of(**sizes: Any) -> Dataset:
    return make_data(**sizes)


@EACH
@ANY
def test_a_step_is_adam_on_the_sum_of_all_terms(name, align):
    dataset, settings = data_of(), make_settings(name, align, reg_weight=0.05)
    steps = []
    for whole in (False, True):
        model = create_model(settings, dataset).train()
        batch = make_batch(model)
        if whole:
            optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
            total(model.loss(batch, 3, 0)).backward()
            optimizer.step()
        else:
            optimizer = create_optimizer(model, 0.01)
            train_step(model, optimizer, batch, 3, 0)
        # The first moment is a tenth of the gradient; the parameters themselves hide its size.
        moments = [optimizer.state[parameter]["exp_avg"] for parameter in model.parameters()]
        steps.append([*moments, *model.parameters()])
    for ours, expected in zip(*steps, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-7)


def gradients(model: Recommender, loss: Tensor) -> dict[str, Tensor | None]:
    model.zero_grad(set_to_none=True)
    loss.backward(retain_graph=True)
    return {name: parameter.grad for name, parameter in model.named_parameters()}


@EACH
@ANY
@pytest.mark.parametrize("case", CASES)
def test_a_step_has_finite_terms_and_gradients(name, align, case):
    data, changes, change = CASES[case]
    data = data_of(**data)
    model = make_model(name, align, data, **changes)
    terms = model.loss(change(make_batch(model)), 3)
    assert terms.keys() <= set(TERMS)
    assert all(term.shape == () and term.isfinite() for term in terms.values())
    for parameter, grad in gradients(model, total(terms)).items():
        assert grad is not None, parameter
        assert grad.isfinite().all(), parameter
    tables = model.final()
    width = model.backbone.final_dim
    assert [table.shape for table in tables] == [(n, width) for n in data.train.shape]
    assert all(table.isfinite().all() for table in tables)


@EACH
@ANY
def test_every_parameter_learns_from_more_than_reg_unless_it_says_so(name, align):
    model = make_model(name, align, data_of())
    terms = model.loss(make_batch(model), 3)
    del terms["reg_loss"]
    found = gradients(model, total(terms))
    without = {key for key, grad in found.items() if grad is None or not grad.abs().max()}
    assert without == REG_ONLY.get(name, set())


@EACH
@ANY
def test_the_same_seed_gives_the_same_bits_for_any_number_of_threads(name, align):
    data, results = data_of(users=700, items=300, share=0.05), []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        torch.manual_seed(threads)
        model = make_model(name, align, data, seed_num=20)
        terms = model.loss(make_batch(model, 1500), 3)
        results.append([*terms.values(), *gradients(model, total(terms)).values(), *model.final()])
    for others in results[1:]:
        assert all(map(same_bits, results[0], others))


@EACH
@ANY
def test_another_seed_gives_another_step_where_something_is_drawn(name, align):
    model = make_model(name, align, data_of())
    batch = make_batch(model)
    first, again, other = (model.loss(batch, seed) for seed in (3, 3, 4))
    assert all(same_bits(first[term], again[term]) for term in first)
    differs = any(not same_bits(first[term], other[term]) for term in first)
    drawn = RANDOM & set(BACKBONES[name].parameters_and_defaults())
    assert differs is (bool(drawn) or align == "generative")


@EACH
@ANY
def test_another_seed_gives_another_model(name, align):
    first, again, other = (
        dict(make_model(name, align, data_of(), seed=seed).named_parameters()) for seed in (1, 1, 2)
    )
    assert all(same_bits(first[key], again[key]) for key in first)
    started_at_zero = {"alignment.mask_token"}
    assert not any(same_bits(first[key], other[key]) for key in first.keys() - started_at_zero)


@EACH
def test_final_tables_are_the_same_with_and_without_alignment(name):
    plain, *others = (make_model(name, align, data_of()).final() for align in ALIGNMENTS)
    for tables in others:
        assert all(map(same_bits, plain, tables))


def start(path, name: str, align: str, data: Dataset) -> tuple[RunFolder, Trainer]:
    settings = make_settings(name, align)
    run = RunFolder.create(path, RunConfig.of(settings, "default", data, path))
    return run, Trainer(create_model(settings, data), data, settings, run)


@EACH
@ANY
def test_a_run_is_trained_stopped_resumed_and_used(tmp_path, name, align):
    data = data_of(isolated=4)
    whole, trainer = start(tmp_path / "whole", name, align, data)
    with whole:
        result = trainer.fit()
    stopped, trainer = start(tmp_path / "stopped", name, align, data)
    with stopped:
        trainer.settings = trainer.settings.model_copy(update={"max_epochs": 1})
        while not trainer.finished():
            trainer._record(trainer._next_epoch())
        trainer._save()
    with RunFolder.open(tmp_path / "stopped", exclusive=True) as run:
        settings = run.config.settings
        resumed = Trainer(create_model(settings, data), data, settings, run)
        assert resumed.fit().test == result.test

    (first, _), (second, _) = (load_tensors(run.last_path) for run in (whole, stopped))
    assert first.keys() == second.keys()
    assert all(same_bits(first[key], second[key]) for key in first)
    trained = TrainedRun(whole, data)
    assert trained.evaluate() == result.test
    tables = (trained.user_embedding, trained.item_embedding)
    assert all(map(same_bits, tables, resumed.model.final()))
    bought = set(data.train[[0]].nonzero()[1].tolist())
    assert not bought & {item.item for item in trained.recommend(0, 5)}
    assert len(trained.recommend(len(tables[0]) - 1, 5)) == 5
