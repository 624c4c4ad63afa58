"""AutoCF's new graphs: scores, seeds, encoder and decoder.

Floor: the graph is read and the encoder, with its reverse positions, and the decoder are written
once; two layers over the graph make the scores. Random numbers and sorting are not counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from bench import reference
from bench.data import Context
from bench.floor import Work
from bench.harness import Call, Case, Setup
from bench.propagate import layer_work
from rlmrec_fast import ops
from rlmrec_fast.graph import InteractionGraph
from rlmrec_fast.ops import reference as twins
from rlmrec_fast.training.settings import Settings

OURS, RLMREC, VECTORISED = "rlmrec_fast", "RLMRec (loop over nodes)", "torch, vectorised"


def cases(context: Context) -> Iterator[Case]:
    settings = Settings.of("autocf", "none", "amazon")
    yield redraw(context, settings)
    yield redraw(context, settings.model_copy(update={"mask_depth": 1}))


def redraw(context: Context, settings: Settings) -> Case:
    """What AutoCF does every tenth step before the step itself, without gradients."""
    graph = context.graph
    x = torch.randn(graph.num_nodes, settings.dim, generator=torch.Generator().manual_seed(1))
    x = x.to(context.device)
    count = min(settings.seed_num or 1, graph.num_nodes)
    depth, rate = settings.mask_depth or 1, settings.keep_rate
    seed = 0

    def draw(seeds_of: Callable[..., tuple[Tensor, Tensor]], graphs_of: Callable[..., Any]) -> Any:
        nonlocal seed
        seed += 1
        seeds, _ = seeds_of(x, graph, count, seed)
        return graphs_of(graph, seeds, depth, rate, seed)

    def eager() -> Call:
        chosen = settings.model_copy(update={"seed_num": count}).used()
        model: Any = reference.create_model(chosen, context.dataset.train, device=context.device)
        return torch.no_grad()(model.redraw)

    ours, vectorised = (
        partial(draw, module.draw_seeds, module.draw_subgraphs) for module in (ops, twins)
    )
    providers: dict[str, Setup] = {
        OURS: lambda: ours,
        RLMREC: eager,
        VECTORISED: lambda: vectorised,
    }
    return Case(
        "subgraphs",
        f"new graphs for AutoCF, mask depth {depth}",
        {"nodes": graph.num_nodes, "entries": len(graph.columns), "seeds": count},
        providers,
        {RLMREC: 50} if depth == 2 else {},
        [(redraw_work(graph, *ours()), 1), (layer_work(graph, settings.dim), 2)],
        host={VECTORISED},
    )


def redraw_work(graph: InteractionGraph, encoder: Any, decoder: Any) -> Work:
    """The floor of drawing both graphs."""
    read = len(graph.columns) * 4 + graph.num_nodes * 8
    written = len(encoder.columns) * 12 + len(decoder.columns) * 4 + 2 * graph.num_nodes * 8
    return Work(read + written)
