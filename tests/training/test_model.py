from __future__ import annotations

import pytest
import torch
from small_runs import make_settings

from rlmrec_fast.backbones import BACKBONES
from rlmrec_fast.training import model
from rlmrec_fast.training.model import create_model, parse_device, require_available
from rlmrec_fast.training.settings import Settings


@pytest.mark.parametrize("name", BACKBONES)
def test_a_model_is_built_from_its_settings_on_the_training_graph(name, dataset):
    settings = Settings.of(name, changes={"dim": 8, "seed": 5})
    model = create_model(settings, dataset)
    created = model.backbone
    assert isinstance(created, BACKBONES[name])
    assert model.alignment is None
    assert created.graph.num_interactions == dataset.train.nnz
    assert created.graph.self_loops is BACKBONES[name].self_loops
    assert created.embedding.shape == (70, 8)
    again = create_model(settings, dataset).backbone
    assert torch.equal(created.embedding, again.embedding)


def test_every_setting_reaches_the_backbone(dataset):
    settings = make_settings(num_layers=1, keep_rate=0.5, reg_weight=0.125)
    created = create_model(settings, dataset).backbone
    assert (created.num_layers, created.keep_rate, created.reg_weight) == (1, 0.5, 0.125)


def test_what_cannot_be_trained_is_refused_with_what_can():
    for name, align, message in (
        ("gru", "none", rf"model must be one of {', '.join(BACKBONES)} \(got 'gru'\)"),
        ("gccf", "cosine", r"align must be one of none, contrastive, generative \(got 'cosine'\)"),
    ):
        with pytest.raises(ValueError, match=message):
            require_available(name, align)


def test_the_cpu_is_always_available():
    assert parse_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("text", ["tpu", "", "meta", "cuda:x"])
def test_an_unknown_device_is_refused(text):
    with pytest.raises(ValueError, match="--device must be cpu or cuda"):
        parse_device(text)


@pytest.mark.parametrize(
    ("available", "kernels", "text", "reason"),
    [
        (False, True, "cuda", "finds no CUDA device"),
        (True, True, "cuda:2", "torch finds 1 CUDA devices"),
        (True, False, "cuda", "this build of rlmrec_fast has no CUDA kernels"),
    ],
)
def test_cuda_is_refused_with_what_is_missing(monkeypatch, available, kernels, text, reason):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(model, "build_info", lambda: {"cuda": kernels})
    with pytest.raises(ValueError, match=f"--device must be available here .*{reason}"):
        parse_device(text)
