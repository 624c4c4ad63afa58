"""A training epoch of LightGCN on Amazon, and where our time goes.

Floor: that of its parts, step by step: six layers of propagation, BPR, Adam (which reads weights,
gradients and two moments, and writes three of them); once an epoch the negatives.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import partial
from time import perf_counter
from typing import Any

from torch.profiler import profile

from bench import alternatives, reference
from bench.bpr import batch_work
from bench.data import Context
from bench.device import Device, device_at
from bench.floor import Work
from bench.harness import Call, Case, Recorded, Setup
from bench.propagate import layer_work
from bench.sample import epoch_work
from rlmrec_fast.training.model import create_model
from rlmrec_fast.training.replay import CudaGraphs
from rlmrec_fast.training.settings import Settings
from rlmrec_fast.training.trainer import Trainer

OURS, CAPTURED = "rlmrec_fast", "rlmrec_fast, captured"
RLMREC = "RLMRec (eager reference)"
PARTS = {
    "rlmrec_fast::propagate": "propagate",
    "rlmrec_fast::propagate_backward": "propagate, backward",
    "rlmrec_fast::bpr": "BPR",
    "rlmrec_fast::bpr_backward": "BPR, backward",
    "rlmrec_fast::stable_sum": "sums (loss, reg)",
    "rlmrec_fast::sample_negatives": "negatives",
    "aten::_fused_adam_": "Adam",
    "aten::mul": "reg, backward",
    "aten::add_": "adding gradients",
    "aten::randperm": "shuffle",
    "aten::index_select": "shuffle",
}
REST = "the rest (autograd, Python)"
"""On a GPU other kernels, too, and the time in which it has nothing to do."""


def cases(context: Context) -> Iterator[Case]:
    yield training_epoch(context)


def training_epoch(context: Context) -> Case:
    """All triplets once: negatives, shuffling, forward, backward, Adam."""
    settings = Settings.of("lightgcn", "none", "amazon")
    dim, layers, batch = settings.dim, settings.num_layers, settings.batch_size
    device, dataset = device_at(context.device), context.dataset
    ours = epochs_of(create_trainer(context, settings))

    def captured() -> Call:
        trainer = create_trainer(context, settings)
        call = epochs_of(trainer)
        call()  # makes what lasts, such as Adam's moments
        trainer.replay_by(CudaGraphs(trainer.optimizer))
        return Recorded(call, device)

    def rlmrec() -> Call:
        model = reference.create_model(settings.used(), dataset.train, device=context.device)
        loader = reference.triplet_loader(reference.Triplets(dataset.train), batch)
        optimizer = reference.optimizer_for(model, settings.learning_rate)
        return partial(reference.train_epoch, model, optimizer, loader)

    graph = context.graph
    steps = math.ceil(graph.num_interactions / batch)
    providers: dict[str, Setup] = {OURS: lambda: ours}
    if context.device.type == "cuda":
        providers[CAPTURED] = captured
    providers[RLMREC] = rlmrec
    providers["torch, vectorised (CSR, no Python loops)"] = partial(
        alternatives.torch_epoch, graph, dim, layers, batch
    )
    return Case(
        "epoch",
        "LightGCN, one epoch",
        {
            "interactions": graph.num_interactions,
            "steps": steps,
            "batch": batch,
            "d": dim,
            "layers": layers,
        },
        providers,
        {RLMREC: 12},
        [
            (layer_work(graph, dim), 2 * layers * steps),
            (batch_work(graph, min(batch, graph.num_interactions), dim), steps),
            (Work(7 * graph.num_nodes * dim * 4, 12 * graph.num_nodes * dim), steps),
            (epoch_work(graph), 1),
        ],
        details={OURS: lambda: {"profile": shares(ours, device)}},
    )


def create_trainer(context: Context, settings: Settings) -> Trainer:
    """A trainer that has not begun."""
    model = create_model(settings, context.dataset, context.device)
    return Trainer(model, context.dataset, settings, progress=None)


def epochs_of(trainer: Trainer) -> Call:
    """The next epoch with every call."""
    epoch = 0

    def call() -> dict[str, float]:
        nonlocal epoch
        epoch += 1
        return trainer.train_epoch(epoch)

    return call


def shares(
    call: Call, device: Device, parts: Mapping[str, str] = PARTS, repeats: int = 3
) -> dict[str, float]:
    """Shares of the wall-clock time of a call by its parts, from torch's profiler.

    No part calls another, so an operator's time is its own and that of all it calls. The profiler's
    own cost, some microseconds per operator, falls mostly on the rest.
    """
    with profile(activities=device.activities) as profiled:
        device.synchronize()
        start = perf_counter()
        for _ in range(repeats):
            call()
        device.synchronize()
        wall = perf_counter() - start
    seconds: dict[str, float] = {}
    for event in _averages(profiled):
        part = parts.get(event.key)
        if part is not None:
            seconds[part] = seconds.get(part, 0.0) + device.seconds_in(event)
    seconds[REST] = wall - sum(seconds.values())
    ordered = sorted(seconds.items(), key=lambda entry: -entry[1])
    return {part: spent / wall for part, spent in ordered}


def _averages(profiled: Any) -> Any:
    return profiled.key_averages()
