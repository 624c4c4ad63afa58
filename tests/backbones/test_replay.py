"""Steps that are recorded once and replayed.

A GPU records the kernels of a step. Here a trace records its operators instead, on the tensors that
they had: what Python decided while it was made, seeds above all, stays decided as on a GPU.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import pytest
import torch
from small_models import make_batch, make_data, make_model, make_settings
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from rlmrec_fast.alignment import Contrastive, Generative, Recommender, contrastive
from rlmrec_fast.backbones import BACKBONES, Batch, autocf, base
from rlmrec_fast.training.replay import (
    WARM_UP,
    ReplayedStep,
    Terms,
    capturable,
    require_replayable,
)
from rlmrec_fast.training.step import create_optimizer, train_step
from rlmrec_fast.training.trainer import Trainer

DATA = make_data()
CUDA = torch.device("cuda")
MODELS: list[tuple[str, str, dict[str, Any]]] = [
    ("lightgcn", "none", {}),
    ("gccf", "none", {}),
    ("sgl", "none", {"augmentation": "edge_drop"}),
    ("sgl", "none", {"augmentation": "node_drop"}),
    ("sgl", "none", {"augmentation": "random_walk"}),
    ("simgcl", "none", {}),
    ("dccf", "none", {}),
    ("autocf", "none", {"fix_steps": 3}),
    ("lightgcn", "contrastive", {}),
    ("lightgcn", "generative", {}),
    ("autocf", "generative", {"fix_steps": 3}),
]


class Traced:
    """Records by tracing; the run that makes the trace is undone.

    Args:
        lasting: everything that work changes for good.
    """

    def __init__(self, lasting: Callable[[], list[Tensor]]) -> None:
        self.lasting = lasting
        self.warm = self.recordings = self.replays = 0

    def warm_up(self, work: Callable[[], Terms]) -> Terms:
        self.warm += 1
        return work()

    def record(self, work: Callable[[], Terms]) -> tuple[Terms, Callable[[], None]]:
        self.recordings += 1
        before = [tensor.detach().clone() for tensor in self.lasting()]
        traced = make_fx(lambda: work())()

        # torch 2.14 leaves what detaches out of a trace.
        def trace() -> Terms:
            return {name: term.detach() for name, term in traced().items()}

        found = {name: torch.full_like(term, torch.nan) for name, term in trace().items()}
        with torch.no_grad():
            for tensor, old in zip(self.lasting(), before, strict=True):
                tensor.copy_(old)

        def replay() -> None:
            self.replays += 1
            for name, term in trace().items():
                found[name].copy_(term)

        return found, replay


def lasting(model: Recommender, optimizer: torch.optim.Optimizer) -> list[Tensor]:
    states = [optimizer.state[parameter] for parameter in model.parameters()]
    return [*model.parameters(), *(tensor for state in states for tensor in state.values())]


@pytest.fixture
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    operators = (f"rlmrec_fast.ops.{name}" for name in ("info_nce", "propagated_bpr"))
    for module in (autocf, base, contrastive, *map(importlib.import_module, operators)):
        monkeypatch.setattr(module, "must_not_wait", lambda _: True)


def train(model: Recommender, settings: Any, replayed: bool) -> list[Any]:
    trainer = Trainer(model, DATA, settings)
    recorder = Traced(lambda: lasting(model, trainer.optimizer))
    if replayed:
        trainer.replay_by(recorder)
    losses = [trainer.train_epoch(epoch) for epoch in (1, 2)]
    steps = [step for epoch in (1, 2) for step in enumerate(trainer.batches(epoch))]
    full = [index for index, batch in steps if len(batch.users) == settings.batch_size]
    if replayed:
        assert (recorder.warm, recorder.recordings) == (WARM_UP, 1)
        drawing = sum(model.backbone.draws(index) for index in full)
        assert (drawing > 2) is isinstance(model.backbone, BACKBONES["autocf"])
        assert recorder.replays == len(full) - drawing - WARM_UP > 1
        assert len(steps) == len(full) + 2  # a smaller one in each epoch
    return [losses, *lasting(model, trainer.optimizer)]


@pytest.mark.parametrize(("name", "align", "changes"), MODELS)
def test_replayed_training_ends_with_the_bits_of_other_training(name, align, changes, as_on_a_gpu):
    settings = make_settings(name, align, batch_size=20, **changes)
    ends = []
    for replayed in (False, True):
        model = make_model(name, align, DATA, batch_size=20, **changes)
        ends.append(train(model, settings, replayed))
    (losses, *tensors), (replayed_losses, *replayed_tensors) = ends
    assert losses == replayed_losses
    assert all(a.equal(b) for a, b in zip(tensors, replayed_tensors, strict=True))


def steps(take: Callable[..., Terms], model: Recommender, optimizer: Any, count: int) -> list[Any]:
    replayed = ReplayedStep(model, take, 40, Traced(lambda: lasting(model, optimizer)))
    return [replayed(make_batch(model, 40), seed, seed)["rec_loss"] for seed in range(count)]


def test_what_the_host_decides_would_be_noticed(as_on_a_gpu):
    losses = []
    for look in (lambda seed: seed, lambda seed: int(seed)):
        model = make_model("lightgcn", "none", DATA, keep_rate=0.5)
        optimizer = create_optimizer(model, 0.0)

        def take(batch: Batch, seed: Any, step: int, of=(look, model, optimizer)) -> Terms:
            look, model, optimizer = of
            return train_step(model, optimizer, batch, look(seed), step)

        losses.append([loss.item() for loss in steps(take, model, optimizer, WARM_UP + 3)])
    looked_at, baked = losses
    assert looked_at[: WARM_UP + 1] == baked[: WARM_UP + 1]
    assert len(set(looked_at)) == len(looked_at)
    assert set(baked[WARM_UP:]) == {baked[WARM_UP]}


def test_terms_are_left_alone_by_later_steps(as_on_a_gpu):
    model = make_model("lightgcn", "none", DATA, keep_rate=0.5)
    optimizer = create_optimizer(model, 0.01)

    def take(batch: Batch, seed: Any, step: int) -> Terms:
        return train_step(model, optimizer, batch, seed, step)

    losses = steps(take, model, optimizer, WARM_UP + 4)
    assert len({loss.item() for loss in losses}) == len(losses)
    assert not any(loss.requires_grad for loss in losses)


def test_every_model_of_the_package_can_be_replayed():
    for backbone in BACKBONES.values():
        for alignment in (None, Contrastive, Generative):
            require_replayable(backbone, alignment, CUDA)


def test_rows_that_were_not_prepared_are_not_baked_in():
    model = make_model("lightgcn", "generative", DATA)
    mask, ego, seed = model.alignment.mask, model.backbone.embedding, torch.tensor([5])
    with pytest.raises(TypeError, match=r"Generative: seed must be an integer.*\(got a tensor\)"):
        mask(ego, seed)
    places = []
    for number in (5, 6):
        model.alignment.prepare(number)
        rows = mask(ego, seed)[1]
        assert torch.equal(rows, mask(ego, number)[1])
        places.append(rows.data_ptr())
    assert places[0] == places[1]


def test_models_of_ones_own_that_do_not_say_when_they_draw_are_refused_by_name():
    class Own(BACKBONES["lightgcn"]):
        def prepare(self, step: int, seed: Any) -> None:
            self.keep_rate = 0.5

    class Mine(Contrastive):
        def mask(self, ego: Tensor, seed: Any) -> tuple[Tensor, Tensor | None]:
            return ego.roll(int(seed), 0), None

    message = r"--cuda-graph must be left out .*\(got Own, .* and Mine, that has mask without prep"
    with pytest.raises(ValueError, match=message):
        require_replayable(Own, Mine, CUDA)


def test_a_cpu_records_nothing():
    model = make_model("lightgcn", "none", DATA)
    message = r"--cuda-graph must come with --device cuda \(got --device cpu\)"
    with pytest.raises(ValueError, match=message):
        Trainer(model, DATA, make_settings("lightgcn"), cuda_graph=True)


def test_the_optimizer_is_capturable_while_it_is_captured_and_no_longer():
    optimizer = create_optimizer(make_model("lightgcn", "none", DATA), 0.01)
    with capturable(optimizer):
        assert all(group["capturable"] for group in optimizer.param_groups)
    assert not any(group["capturable"] for group in optimizer.param_groups)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize(("name", "align", "changes"), MODELS)
def test_on_a_gpu_captured_training_ends_with_the_bits_of_other_training(name, align, changes):
    from rlmrec_fast.training.model import create_model

    settings = make_settings(name, align, batch_size=20, **changes)
    ends = []
    for captured in (False, True):
        model = create_model(settings, DATA, "cuda")
        trainer = Trainer(model, DATA, settings, cuda_graph=captured)
        losses = [trainer.train_epoch(epoch) for epoch in (1, 2)]
        ends.append([losses, *lasting(model, trainer.optimizer)])
    (losses, *tensors), (captured_losses, *captured_tensors) = ends
    assert losses == captured_losses
    assert all(a.equal(b) for a, b in zip(tensors, captured_tensors, strict=True))
