"""Negative sampling: one item without interaction for every interaction.

Floor: every interaction's id is written; the users' rows are read once.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch

from bench import alternatives, reference
from bench.data import Context
from bench.floor import Work
from bench.harness import Call, Case, Setup
from rlmrec_fast import ops
from rlmrec_fast.graph import InteractionGraph

LOOP, NUMPY = "Python loop (RLMRec)", "numpy rejection, vectorised"


def cases(context: Context) -> Iterator[Case]:
    yield one_epoch(context)


def epoch_work(graph: InteractionGraph) -> Work:
    """The floor of one draw for all interactions."""
    return Work(graph.num_interactions * (8 + 4) + graph.num_users * 8)


def one_epoch(context: Context) -> Case:
    """The negatives of one epoch."""
    graph = context.graph
    seed = 0

    def ours() -> torch.Tensor:
        nonlocal seed
        seed += 1
        return ops.sample_negatives(graph, seed)

    def loop() -> Call:
        triplets = reference.Triplets(context.dataset.train)

        def draw() -> torch.Tensor:
            triplets.draw_negatives()
            return torch.from_numpy(triplets.negatives).to(context.device)

        return draw

    setting = {
        "users": graph.num_users,
        "items": graph.num_items,
        "interactions": graph.num_interactions,
    }
    providers: dict[str, Setup] = {
        "rlmrec_fast": lambda: ours,
        LOOP: loop,
        NUMPY: partial(alternatives.numpy_rejection, graph),
        "torch rejection, dense table": partial(alternatives.torch_rejection, graph),
    }
    return Case(
        "sample",
        "negatives of an epoch",
        setting,
        providers,
        {LOOP: 200},
        [(epoch_work(graph), 1)],
        host={NUMPY},
    )
