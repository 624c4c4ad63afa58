"""Propagation weighted by cosines of messages, forward and backward, as DCCF has it in every layer.

Floor: forward every entry gathers a row of the messages and one of the table, at best from L2;
backward these and the upstream gradient's. Tables and gradients are moved once, the graph once a
walk. A product and a sum for every entry and column are four operations forward and ten backward.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from bench import alternatives
from bench.data import Context
from bench.edge_attention import COMPILED, EAGER, OURS, edges_work
from bench.floor import Work
from bench.harness import Call, Case, Setup, relative_difference
from rlmrec_fast import InteractionGraph, ops
from rlmrec_fast.ops import reference


def cases(context: Context) -> Iterator[Case]:
    for dim in (32, 64):
        yield forward_backward(context, dim)


def adaptive_work(graph: InteractionGraph, dim: int) -> list[tuple[Work, float]]:
    """The floor of a layer, forward and backward."""
    walk = partial(edges_work, len(graph.columns), graph.num_nodes, dim, 0)
    backward = walk(10, 5)
    return [(walk(4, 3), 1.0), (replace(backward, cached=1.5 * backward.cached), 1.0)]


def forward_backward(context: Context, dim: int) -> Case:
    """The result and the gradients of messages and table."""
    graph = context.graph
    generator = torch.Generator().manual_seed(1)
    drawn = torch.randn(3, graph.num_nodes, dim, generator=generator)
    message, x, upstream = drawn.to(context.device)
    tables = [message.requires_grad_(), x.requires_grad_()]

    def call(operator: Callable[..., Tensor]) -> Call:
        return lambda: torch.autograd.grad(operator(*tables), tables, upstream)

    def compiled(operator: Callable[..., Tensor]) -> Call:
        return call(alternatives.compiled(operator, *tables))

    ours, eager = (partial(module.adaptive_propagate, graph=graph) for module in (ops, reference))
    providers: dict[str, Setup] = {OURS: partial(call, ours), EAGER: partial(call, eager)}
    if context.compile:
        providers[COMPILED] = partial(compiled, eager)
    setting = {
        "users": graph.num_users,
        "items": graph.num_items,
        "interactions": graph.num_interactions,
        "d": dim,
    }
    return Case(
        "adaptive_propagate",
        "forward + backward",
        setting,
        providers,
        floor=adaptive_work(graph, dim),
        difference=relative_difference,
    )
