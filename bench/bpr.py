"""BPR forward and backward: gather, dot products, softplus, gradients of the whole tables.

Floor: three rows of every triplet are gathered forward and again backward, at best from L2; the ids
are read twice, the tables' gradients written once; ten operations for every triplet and column.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from bench import alternatives
from bench.data import Context
from bench.floor import Work
from bench.harness import Call, Case, Setup, relative_difference
from rlmrec_fast import ops
from rlmrec_fast.graph import InteractionGraph
from rlmrec_fast.ops import reference

Loss = Callable[..., Tensor]


def cases(context: Context) -> Iterator[Case]:
    for batch in context.pick((4096, 65_536), (4096, 65_536), (64,)):
        yield forward_backward(context, batch, 32)


def batch_work(graph: InteractionGraph, batch: int, dim: int) -> Work:
    """The floor of one batch."""
    table = graph.num_nodes * dim * 4
    return Work(2 * batch * 3 * 8 + table, 10 * batch * dim, cached=2 * batch * 3 * dim * 4)


def forward_backward(context: Context, batch: int, dim: int) -> Case:
    """The loss of a batch of real triplets, and its gradients for both tables."""
    graph = context.graph
    generator = torch.Generator().manual_seed(1)
    tables = [
        torch.randn(rows, dim, generator=generator).to(context.device).requires_grad_()
        for rows in (graph.num_users, graph.num_items)
    ]
    users, positives = graph.interactions()
    chosen = torch.randperm(graph.num_interactions, generator=generator)[:batch]
    chosen = chosen.to(context.device)
    ids = [users[chosen], positives[chosen], ops.sample_negatives(graph, 1)[chosen]]

    def step(loss: Loss) -> Call:
        return lambda: torch.autograd.grad(loss(*tables, *ids), tables)

    def compiled() -> Call:
        return step(alternatives.compiled(reference.bpr_loss, *tables, *ids))

    providers: dict[str, Setup] = {
        "rlmrec_fast": partial(step, ops.bpr_loss),
        "torch eager": partial(step, reference.bpr_loss),
    }
    if context.compile:
        providers["torch.compile"] = compiled
    setting = {"batch": len(chosen), "d": dim, "users": graph.num_users, "items": graph.num_items}
    work = batch_work(graph, len(chosen), dim)
    return Case(
        "bpr",
        "forward + backward",
        setting,
        providers,
        floor=[(work, 1)],
        difference=relative_difference,
    )
