"""Training with texts: the whole way from a data set to recommendations, for both alignments."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_runs import make_dataset, make_settings, with_texts
from test_resume import outcome

from rlmrec_fast.alignment import ALIGNMENTS
from rlmrec_fast.data import Dataset
from rlmrec_fast.training.checkpoint import load_tensors
from rlmrec_fast.training.inference import TrainedRun
from rlmrec_fast.training.model import create_model
from rlmrec_fast.training.run import Fingerprint, RunConfig, RunFolder
from rlmrec_fast.training.texts import require_texts, text_table
from rlmrec_fast.training.trainer import Trainer

BOTH = pytest.mark.parametrize("align", ALIGNMENTS)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Work so small gains nothing from two, and loses much where the machine is shared."""
    torch.set_num_threads(1)


@pytest.fixture
def data() -> Dataset:
    return with_texts(make_dataset())


def fit(path, data: Dataset, align: str) -> RunFolder:
    settings = make_settings(align)
    config = RunConfig.of(settings, "default", data, path.with_name("data"))
    with RunFolder.create(path, config) as run:
        Trainer(create_model(settings, data), data, settings, run).fit()
    return run


@BOTH
def test_every_epoch_records_a_falling_loss_of_the_alignment(tmp_path, data, align):
    run = fit(tmp_path / "run", data, align)
    losses = [json.loads(line)["infomax_loss"] for line in run.metrics_path.open()]
    assert len(losses) == 6
    assert losses[-1] < losses[0]
    assert run.log_path.read_text().count("infomax_loss") == 6


@BOTH
def test_every_setting_reaches_the_alignment(data, align):
    names = {
        "contrastive": {"kd_weight": 0.25, "kd_temperature": 0.7},
        "generative": {"mask_ratio": 0.3, "recon_weight": 0.25, "recon_temperature": 0.7},
    }[align]
    model = create_model(make_settings(align, dim=6, **names), data)
    assert {name: getattr(model.alignment, name) for name in names} == names
    rough = create_model(make_settings(align, projector_dtype="bfloat16"), data)
    assert rough.alignment.projector.dtype == torch.bfloat16
    text = torch.from_numpy(np.concatenate([data.user_vectors, data.item_vectors]))
    assert torch.equal(model.alignment.text, text)


@BOTH
@pytest.mark.parametrize("epoch", [1, 4])
def test_a_run_stopped_inside_an_epoch_goes_on_to_the_same_bits(
    tmp_path, data, align, epoch, monkeypatch
):
    fit(tmp_path / "whole", data, align)
    monkeypatch.setattr("rlmrec_fast.training.trainer.CHECKPOINT_SECONDS", 0.0)
    settings = make_settings(align)
    config = RunConfig.of(settings, "default", data, tmp_path / "data")
    with RunFolder.create(tmp_path / "stopped", config) as run:
        trainer = Trainer(create_model(settings, data), data, settings, run)
        terms = trainer.model.terms

        def interrupting(batch, seed, step):
            if trainer.state.epoch == epoch:
                raise KeyboardInterrupt
            return terms(batch, seed, step)

        trainer.model.terms = interrupting
        with pytest.raises(KeyboardInterrupt):
            trainer.fit()
    with RunFolder.open(tmp_path / "stopped", exclusive=True) as run:
        Trainer(create_model(settings, data), data, settings, run).fit()
    assert outcome(tmp_path / "stopped") == outcome(tmp_path / "whole")


@BOTH
def test_the_same_seed_gives_the_same_bits_for_any_number_of_threads(align):
    data = with_texts(make_dataset(users=211, items=133), width=50)
    weights = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        settings = make_settings(align, max_epochs=2, dim=33, batch_size=3000)
        model = create_model(settings, data)
        Trainer(model, data, settings).fit()
        weights.append(model.state_dict())
    for others in weights[1:]:
        assert all(torch.equal(others[name], tensor) for name, tensor in weights[0].items())


@pytest.mark.parametrize("align", ["none", *ALIGNMENTS])
def test_inference_is_the_same_for_every_alignment_and_needs_no_texts(tmp_path, data, align):
    run = fit(tmp_path / "run", data, align)
    bare = replace(data, user_vectors=None, item_vectors=None)
    trained, without, other = (
        TrainedRun(run, dataset) for dataset in (data, bare, with_texts(data, seed=5))
    )
    assert trained.evaluate() == run.read_result()["test"]
    assert (trained.user_embedding.shape, trained.item_embedding.shape) == ((40, 8), (30, 8))
    assert without.recommend(3) == other.recommend(3) == trained.recommend(3)
    best = load_tensors(run.best_path)[0]
    assert ("alignment.projector.weight1" in best) is (align != "none")


@BOTH
def test_other_vectors_are_another_run(tmp_path, data, align):
    run = fit(tmp_path / "run", data, align)
    other = with_texts(data, seed=1)
    settings = make_settings(align)
    with pytest.raises(ValueError, match=r"which differs in: user_vectors, item_vectors\)"):
        Trainer(create_model(settings, other), other, settings, run)
    changed = replace(data, item_vectors=data.item_vectors.astype(np.float32))
    with pytest.raises(ValueError, match=r"which differs in: item_vectors\)"):
        run.config.check(settings, changed)
    with pytest.raises(ValueError, match="differs in: user_vectors, item_vectors"):
        run.config.check(settings, replace(data, user_vectors=None, item_vectors=None))
    identity = RunConfig.of(settings, "default", other, tmp_path).identity
    assert identity != run.config.identity


def test_vectors_do_not_matter_where_they_are_not_used(tmp_path, data):
    first, second = (
        RunConfig.of(make_settings(), "default", dataset, tmp_path)
        for dataset in (data, make_dataset())
    )
    assert first == second
    assert first.identity == second.identity
    assert Fingerprint.of(data) == Fingerprint.of(make_dataset())


def changed(data: Dataset, side: str, rows: list[int], value: float) -> Dataset:
    vectors = getattr(data, f"{side}_vectors").copy()
    vectors[rows] = value
    return replace(data, **{f"{side}_vectors": vectors})


@pytest.mark.parametrize("side", ["user", "item"])
def test_texts_that_cannot_be_aligned_with_are_refused_by_name(data, side, monkeypatch):
    name, settings = f"{side}_vectors", make_settings("contrastive")
    with pytest.raises(ValueError, match=rf"{name} must be there to align with texts \(got none"):
        create_model(settings, replace(data, **{name: None}))
    bare = replace(data, user_vectors=None, item_vectors=None)
    with pytest.raises(ValueError, match="user_vectors and item_vectors must be there"):
        create_model(settings, bare)
    with pytest.raises(ValueError, match=rf"{name} must have shape \(\d\d, t\).*got \(\d\d, 12\)"):
        replace(data, **{name: getattr(data, name)[:-1]})
    # As for tables that are too large for the data set's own check.
    monkeypatch.setattr("rlmrec_fast.data.dataset.CHEAP_BYTES", 0)
    for value in (np.nan, np.inf):
        broken = changed(data, side, [4, 9], value)
        with pytest.raises(ValueError, match=rf"{name} must be finite \(got .* in 2 rows, .*row 4"):
            create_model(settings, broken)


@pytest.mark.parametrize("side", ["user", "item"])
def test_zero_vectors_are_refused_unless_they_are_allowed(data, side):
    zeros = changed(data, side, [7, 3], 0)
    settings = make_settings("generative")
    with pytest.raises(ValueError, match=rf"{side}_vectors must not be zero, .*2 zero rows, first"):
        create_model(settings, zeros)
    model = create_model(settings, zeros, allow_zero_vectors=True)
    assert model.alignment.text.abs().sum(1).count_nonzero() == 68
    facts = require_texts(zeros, allow_zero_vectors=True)
    assert facts.count("(2 zero)") == facts.count("(0 zero)") == 1


def test_vectors_of_different_widths_are_refused(data):
    narrow = replace(data, item_vectors=data.item_vectors[:, :5].copy())
    with pytest.raises(ValueError, match=r"item_vectors must be as wide as user_vectors, 12 \(got"):
        create_model(make_settings("contrastive"), narrow)


@pytest.mark.parametrize(
    ("users", "items", "stored"),
    [
        (np.float16, np.float16, torch.float16),
        (np.float64, np.float64, torch.float32),
        (np.float16, np.float64, torch.float32),
    ],
)
def test_tables_keep_16_bits_and_never_take_64(data, users, items, stored):
    mixed = replace(
        data,
        user_vectors=data.user_vectors.astype(users),
        item_vectors=data.item_vectors.astype(items),
    )
    table = text_table(mixed)
    assert table.dtype == stored
    assert torch.equal(table.half(), text_table(data))
