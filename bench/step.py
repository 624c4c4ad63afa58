"""A training step on Amazon: forward, backward, Adam; of every backbone, and of LightGCN aligned.

Texts are the data set's own vectors where they have the width, else random unit vectors.

Floor: that of its parts. A loss between views: three products of all pairs. The projector: the rows
in use through both layers, once forward, once backward for the weights, and once for what they
multiply unless that is text. In bfloat16 operations of the projector and of the loss are held
against that type's peak, on a CPU twice that of fp32.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.profiler import profile

from bench import reference
from bench.adaptive_propagate import adaptive_work
from bench.bpr import batch_work
from bench.data import Context
from bench.device import Device, device_at
from bench.edge_attention import edges_work
from bench.epoch import CAPTURED, OURS, PARTS, RLMREC, shares
from bench.floor import Work
from bench.harness import Call, Case, Recorded, Setup
from bench.info_nce import pairs_work
from bench.propagate import layer_work
from rlmrec_fast import ops
from rlmrec_fast.backbones import BACKBONES, Batch
from rlmrec_fast.data import Dataset
from rlmrec_fast.graph import InteractionGraph
from rlmrec_fast.ops.random import Seed
from rlmrec_fast.training.model import create_model
from rlmrec_fast.training.replay import WARM_UP, CudaGraphs, ReplayedStep
from rlmrec_fast.training.settings import Settings
from rlmrec_fast.training.step import create_optimizer, train_step

FP32 = "rlmrec_fast fp32"
PRODUCTS = ("aten::addmm", "aten::mm")
STEP_PARTS = {
    **PARTS,
    **dict.fromkeys(PRODUCTS, "projector's products"),
    "aten::leaky_relu_": "LeakyReLU",
    "aten::leaky_relu_backward": "LeakyReLU",
    "rlmrec_fast::contrast_sum": "contrastive losses",
    "rlmrec_fast::edge_attention": "edge attention",
    "rlmrec_fast::edge_attention_backward": "edge attention",
    "rlmrec_fast::draw_subgraphs": "new graphs",
    "rlmrec_fast::seed_scores": "new graphs",
    "rlmrec_fast::seed_scores_backward": "new graphs",
    "rlmrec_fast::adaptive_propagate": "adaptive graphs",
    "rlmrec_fast::adaptive_propagate_backward": "adaptive graphs",
    "aten::index_select": "gathering rows",
    "aten::randperm": "drawing masked nodes",
    "aten::_unique2": "unique ids",
    "aten::cat": "joining gradients",
    "aten::mul": "scaling gradients",
    "aten::_to_copy": "conversions",
}
TARGETS = {"lightgcn": 12, "gccf": 12, "sgl": 8, "simgcl": 8, "autocf": 8, "dccf": 4}
"""How many times faster than the eager reference a step is meant to be."""
PASSES = {"lightgcn": 1, "gccf": 1, "sgl": 3, "simgcl": 3, "autocf": 1, "dccf": 1}
"""How often a step walks through all layers, forward; where a floor is known."""


def cases(context: Context) -> Iterator[Case]:
    for model in reference.BACKBONES:
        yield training_step(context, model, "none", 0, TARGETS.get(model))
    own, wide = context.pick((384, 1536), (384, 1536), (24, 40))
    yield training_step(context, "lightgcn", "contrastive", own, 6)
    yield training_step(context, "lightgcn", "contrastive", wide, 2.2)
    yield training_step(context, "lightgcn", "contrastive", wide, 3.5, bfloat16=True)
    yield training_step(context, "lightgcn", "generative", own, 2)
    yield training_step(context, "lightgcn", "generative", own, 3, bfloat16=True)
    yield training_step(context, "lightgcn", "generative", wide, None)
    yield training_step(context, "lightgcn", "generative", wide, None, bfloat16=True)


def training_step(
    context: Context,
    model: str,
    align: str,
    width: int,
    target: float | None,
    bfloat16: bool = False,
) -> Case:
    """One step on one batch.

    Args:
        context: the data.
        model: backbone.
        align: `none`, `contrastive` or `generative`.
        width: of the text vectors, for an alignment.
        target: how many times faster than the eager reference ours is meant to be.
        bfloat16: whether our projector multiplies in bfloat16.
    """
    changes = {"projector_dtype": "bfloat16"} if bfloat16 else {}
    settings = Settings.of(model, align, "amazon", changes)
    batch = first_batch(context, settings.batch_size)
    name = BACKBONES[model].__name__
    setting: dict[str, Any] = {"batch": len(batch.users), "d": settings.dim}
    if align == "none":
        name, dataset = f"step, {name}", context.dataset
        setting["layers"] = settings.num_layers
    else:
        name += f", {align}" + (", projector in bfloat16" if bfloat16 else "")
        dataset, source = with_texts(context.dataset, width)
        setting |= {"text width": width, "texts": source}

    providers: dict[str, Setup] = {OURS: partial(our_step, dataset, settings, batch)}
    if context.device.type == "cuda":
        providers[CAPTURED] = partial(captured_step, dataset, settings, batch)
    if bfloat16:
        fp32 = Settings.of(model, align, "amazon")
        providers[FP32] = partial(our_step, dataset, fp32, batch)
    providers[RLMREC] = partial(eager_step, dataset, settings, batch)

    def found() -> dict[str, Any]:
        device = device_at(context.device)
        return details(our_step(dataset, settings, batch), device, align != "none")

    return Case(
        "step",
        name,
        setting,
        providers,
        {} if target is None else {RLMREC: target},
        step_work(context, settings, batch, width),
        details={OURS: found},
    )


def with_texts(dataset: Dataset, width: int) -> tuple[Dataset, str]:
    """The data set with text vectors of a width, and where they are from."""
    own = dataset.user_vectors
    if own is not None and own.shape[1] == width:
        return dataset, "the data set's"
    generator = np.random.default_rng(1)
    sizes = (dataset.num_users, dataset.num_items)
    tables = [generator.standard_normal((rows, width), np.float32) for rows in sizes]
    users, items = (table / np.linalg.norm(table, axis=1, keepdims=True) for table in tables)
    return replace(dataset, user_vectors=users, item_vectors=items), "random"


def first_batch(context: Context, size: int) -> Batch:
    """A shuffled batch of triplets."""
    graph = context.graph
    generator = torch.Generator().manual_seed(1)
    chosen = torch.randperm(graph.num_interactions, generator=generator)[:size]
    chosen = chosen.to(context.device)
    columns = (*graph.interactions(), ops.sample_negatives(graph, 1))
    return Batch(*(column[chosen] for column in columns))


def our_step(dataset: Dataset, settings: Settings, batch: Batch) -> Call:
    """A step as the trainer takes it, its loss not read."""
    model = create_model(settings, dataset, batch.users.device).train()
    optimizer = create_optimizer(model, settings.learning_rate)
    seed = 0

    def step() -> None:
        nonlocal seed
        seed += 1
        train_step(model, optimizer, batch, seed, seed - 1)

    return step


def captured_step(dataset: Dataset, settings: Settings, batch: Batch) -> Call:
    """The same, recorded as a CUDA graph and replayed, as the trainer does on request."""
    place = batch.users.device
    model = create_model(settings, dataset, place).train()
    optimizer = create_optimizer(model, settings.learning_rate)

    def take(batch: Batch, seed: Seed, index: int) -> dict[str, torch.Tensor]:
        return train_step(model, optimizer, batch, seed, index)

    replayed = ReplayedStep(model, take, len(batch.users), CudaGraphs(optimizer))
    seed = 0

    def step() -> None:
        nonlocal seed
        seed += 1
        replayed(batch, seed, seed)

    return Recorded(step, device_at(place), WARM_UP)


def eager_step(dataset: Dataset, settings: Settings, batch: Batch) -> Call:
    """A step of the reference."""
    texts = None
    if settings.align != "none":
        users, items = (
            torch.from_numpy(np.asarray(vectors, np.float32))
            for vectors in (dataset.user_vectors, dataset.item_vectors)
        )
        texts = users, items
    place = batch.users.device
    model = reference.create_model(settings.used(), dataset.train, texts, device=place)
    optimizer = reference.optimizer_for(model, settings.learning_rate)
    return partial(reference.train_step, model.train(), optimizer, batch)


def step_work(
    context: Context, settings: Settings, batch: Batch, width: int
) -> Sequence[tuple[Work, float]]:
    """The floor of a step's parts; of none where it is not known."""
    if settings.model not in PASSES:
        return []
    graph, dim = context.graph, settings.dim
    backbone = BACKBONES[settings.model]
    final = dim * (settings.num_layers + 1) if backbone.self_loops else dim
    work = [
        (layer_work(graph, dim), 2 * settings.num_layers * PASSES[settings.model]),
        (batch_work(graph, len(batch.users), final), 1),
        (Work(7 * graph.num_nodes * dim * 4, 12 * graph.num_nodes * dim), 1),
    ]
    if settings.model == "dccf":
        sizes = [len(column.unique()) for column in (batch.users, batch.positives)]
        messages = 3 * settings.num_layers
        pairs = messages * sum(size**2 for size in sizes)
        intents = 6 * 2 * graph.num_nodes * dim * (settings.num_intents or 0)
        work += [(part, 2 * settings.num_layers) for part, _ in adaptive_work(graph, dim)]
        work.append((Work(0, settings.num_layers * intents), 1))
        work.append((pairs_work(1, pairs, dim, 3, 4 * messages * sum(sizes)), 1))
    elif settings.model == "autocf":
        work += autocf_work(graph, settings, batch)
    elif settings.cl_weight is not None:
        items = torch.cat(batch[1:]) if settings.model == "sgl" else batch.positives
        pairs = len(batch.users.unique()) * graph.num_users
        pairs += len(items.unique()) * graph.num_items
        work.append((pairs_work(1, pairs, dim, 3, 4 * graph.num_nodes), 1))
    return [*work, *alignment_work(context, settings, batch, width)]


def autocf_work(
    graph: InteractionGraph, settings: Settings, batch: Batch
) -> Sequence[tuple[Work, float]]:
    """The floor of AutoCF's attention and losses; graphs that every tenth step draws left out."""
    dim, heads = settings.dim, settings.num_heads or 1
    seeds = torch.arange(settings.seed_num or 0, device=graph.device) % graph.num_nodes
    depth = settings.mask_depth or 1
    _, decoder = ops.draw_subgraphs(graph, seeds, depth, settings.keep_rate, 1)
    walk = partial(edges_work, len(decoder.columns), graph.num_nodes, dim, heads)
    users, items = (len(column.unique()) for column in (batch.users, batch.positives))
    pairs = users * graph.num_nodes + items * graph.num_items
    # Queries, keys and values: three products forward, and two each of both backward.
    matrices = Work(0, 3 * 3 * 2 * graph.num_nodes * dim * dim)
    attention = [(walk(*shape), 1.0) for shape in ((4, 4), (6, 6), (8, 6))]
    layers = settings.transformer_layers or 1
    return [
        *[(part, layers * times) for part, times in [*attention, (matrices, 1.0)]],
        (pairs_work(1, pairs, dim, 3, 4 * graph.num_nodes), 1),
    ]


def alignment_work(
    context: Context, settings: Settings, batch: Batch, width: int
) -> Sequence[tuple[Work, float]]:
    """The floor of the projector, the loss against texts, and Adam on the projector."""
    graph, dim = context.graph, settings.dim
    hidden = (width + dim) // 2
    weights = hidden * (width + dim)
    if settings.align == "none":
        return []
    if settings.align == "contrastive":
        users, *items = (column.unique() for column in batch)
        rows = graph.num_users + len(torch.cat(items).unique())
        # The texts have no gradient, but the hidden layer has.
        flops = 2 * rows * (2 * weights + hidden * dim)
        pairs = len(users) * graph.num_users + sum(len(ids) ** 2 for ids in items)
        loss = pairs_work(1, pairs, dim, 3, 4 * graph.num_nodes)
    else:
        rows = max(1, int(graph.num_nodes * (settings.mask_ratio or 0)))
        flops = 3 * 2 * rows * weights
        loss = pairs_work(rows, rows, width, 2, 3 * rows)
    projector = Work(2 * rows * width * 4, flops)
    if settings.projector_dtype == "bfloat16":
        projector, loss = (
            replace(work, flops=0.0, bfloat16=work.flops) for work in (projector, loss)
        )
    return [
        (projector, 1),
        (loss, 1),
        (Work(7 * weights * 4, 12 * weights), 1),
    ]


def details(call: Call, device: Device, projects: bool) -> dict[str, Any]:
    """Where the time of a step goes, and how near a projector's products come to the peak."""
    call()
    parts = {"profile": shares(call, device, STEP_PARTS)}
    if not projects:
        return parts
    rate, peaks = product_rate(call, device), device.peaks()
    return {
        **parts,
        "projector": {"of the fp32 peak": rate / peaks.products.get("fp32", peaks.flops)},
        "projector GFLOP/s": rate / 1e9,
    }


def product_rate(call: Call, device: Device, repeats: int = 3) -> float:
    """Operations per second within the matrix products of a call."""
    with profile(activities=device.activities, record_shapes=True, with_flops=True) as profiled:
        for _ in range(repeats):
            call()
        device.synchronize()
    averages: Any = profiled.key_averages()
    products = [event for event in averages if event.key in PRODUCTS]
    seconds = sum(device.seconds_in(event) for event in products)
    return sum(float(event.flops) for event in products) / max(seconds, 1e-9)
