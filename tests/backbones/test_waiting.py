"""A training step that keeps to what a GPU can do without anybody waiting for it.

There is no GPU here: the models are told that there is one, and run on the CPU with tensors that
hold nothing, so that every look at a value fails.
"""

from __future__ import annotations

import importlib

import pytest
import torch
from small_models import make_batch, make_data, make_model, total
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
)

from rlmrec_fast.alignment import Recommender, contrastive
from rlmrec_fast.backbones import BACKBONES, Batch, autocf, base
from rlmrec_fast.graph import InteractionGraph
from rlmrec_fast.ops.distinct import must_not_wait
from rlmrec_fast.training.model import ALIGNMENTS

DATA = make_data()
MODELS = [*((name, "none") for name in BACKBONES), *(("lightgcn", a) for a in ALIGNMENTS[1:])]


@pytest.fixture
def nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    operators = (f"rlmrec_fast.ops.{name}" for name in ("info_nce", "propagated_bpr"))
    for module in (autocf, base, contrastive, *map(importlib.import_module, operators)):
        monkeypatch.setattr(module, "must_not_wait", lambda _: True)


def step(model: Recommender, batch: Batch) -> tuple[Tensor, ...]:
    terms = model.loss(batch, 5)
    loss = total(terms)
    return (loss, *torch.autograd.grad(loss, list(model.parameters()), allow_unused=True))


def hollow(mode: FakeTensorMode, model: Recommender) -> None:
    """Takes the values out of all tensors of a model and of its graph."""
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            fake = mode.from_tensor(parameter.detach())
            module._parameters[name] = nn.Parameter(fake)
        for name, buffer in list(module.named_buffers(recurse=False)):
            module._buffers[name] = mode.from_tensor(buffer)
        for name, value in list(vars(module).items()):
            if isinstance(value, InteractionGraph):
                fields = vars(value).items()
                vars(module)[name] = value._create(
                    {k: mode.from_tensor(v) if isinstance(v, Tensor) else v for k, v in fields}
                )
            elif isinstance(value, Tensor):
                vars(module)[name] = mode.from_tensor(value)


@pytest.mark.parametrize(("name", "align"), MODELS)
def test_a_step_looks_at_no_value(name, align, nobody_waits):
    model = make_model(name, align, DATA)
    batch = make_batch(model, 60)
    mode = FakeTensorMode()
    hollow(mode, model)
    fake = Batch(*map(mode.from_tensor, batch))
    with mode:
        loss, *gradients = step(model, fake)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
        for parameter, gradient in zip(model.parameters(), gradients, strict=True):
            parameter.grad = gradient
        optimizer.step()
        assert loss.shape == ()
        with pytest.raises(DataDependentOutputException):
            loss.item()


def test_what_a_cpu_may_look_at_is_noticed():
    model = make_model("sgl", "none", DATA)
    batch = make_batch(model, 60)
    mode = FakeTensorMode()
    hollow(mode, model)
    fake = Batch(*map(mode.from_tensor, batch))
    with mode, pytest.raises(DynamicOutputShapeException):
        step(model, fake)


@pytest.mark.parametrize(("name", "align"), MODELS)
def test_a_step_without_looking_is_the_same_step(name, align, request):
    model = make_model(name, align, DATA)
    batch = make_batch(model, 60)
    expected = step(model, batch)
    request.getfixturevalue("nobody_waits")
    for ours, theirs in zip(step(model, batch), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_only_the_cpu_may_be_waited_for():
    assert not must_not_wait(torch.empty(0))
    assert must_not_wait(torch.empty(0, device="meta"))
