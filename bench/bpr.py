"""BPR forward and backward: gather, dot products, softplus, gradients of the whole tables.

Floor: three rows of every triplet are gathered forward and again backward, at best from L2; the ids
are read twice, the tables' gradients written once; ten operations for every triplet and column. On
propagated embeddings, the layers come to that, both ways (see propagate.py).
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
from bench.propagate import layer_work
from rlmrec_fast import ops
from rlmrec_fast.graph import InteractionGraph
from rlmrec_fast.ops import reference

Loss = Callable[..., Tensor]


def cases(context: Context) -> Iterator[Case]:
    for batch in context.pick((4096, 65_536), (4096, 65_536), (64,)):
        yield forward_backward(context, batch, 32)
    yield propagated(context, context.pick(4096, 4096, 64), 32, num_layers=2)


def batch_work(graph: InteractionGraph, batch: int, dim: int) -> Work:
    """The floor of one batch."""
    table = graph.num_nodes * dim * 4
    return Work(2 * batch * 3 * 8 + table, 10 * batch * dim, cached=2 * batch * 3 * dim * 4)


def draw_batch(graph: InteractionGraph, batch: int, generator: torch.Generator) -> list[Tensor]:
    """Users, positives and negatives of some of the interactions."""
    users, positives = graph.interactions()
    chosen = torch.randperm(graph.num_interactions, generator=generator)[:batch].to(users.device)
    return [users[chosen], positives[chosen], ops.sample_negatives(graph, 1)[chosen]]


def forward_backward(context: Context, batch: int, dim: int) -> Case:
    """The loss of a batch of real triplets, and its gradients for both tables."""
    graph = context.graph
    generator = torch.Generator().manual_seed(1)
    tables = [
        torch.randn(rows, dim, generator=generator).to(context.device).requires_grad_()
        for rows in (graph.num_users, graph.num_items)
    ]
    ids = draw_batch(graph, batch, generator)

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
    setting = {"batch": len(ids[0]), "d": dim, "users": graph.num_users, "items": graph.num_items}
    work = batch_work(graph, len(ids[0]), dim)
    return Case(
        "bpr",
        "forward + backward",
        setting,
        providers,
        floor=[(work, 1)],
        difference=relative_difference,
    )


def propagated(context: Context, batch: int, dim: int, num_layers: int) -> Case:
    """The same on layers of propagation side by side, as GCCF learns: one table of all nodes."""
    graph = context.graph
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(graph.num_nodes, dim, generator=generator).to(context.device).requires_grad_()
    users, positives, negatives = draw_batch(graph, batch, generator)
    ids = (users, positives + graph.num_users, negatives + graph.num_users)

    def gradient(loss: Loss) -> Call:
        return lambda: torch.autograd.grad(loss(), x)

    def chain() -> Tensor:
        return ops.bpr_loss(ops.propagate(x, graph, num_layers, combine="concat"), None, *ids)

    def torch_coo() -> Call:
        adjacency = alternatives.coo_adjacency(graph)

        def loss() -> Tensor:
            layers = [x]
            for _ in range(num_layers):
                layers.append(adjacency @ layers[-1])
            return reference.bpr_loss(torch.cat(layers, 1), None, *ids)

        return gradient(loss)

    providers: dict[str, Setup] = {
        "rlmrec_fast": lambda: gradient(
            partial(ops.propagated_bpr_loss, x, graph, num_layers, *ids, combine="concat")
        ),
        "rlmrec_fast, propagate and bpr_loss": lambda: gradient(chain),
        "torch COO and eager BPR": torch_coo,
    }
    setting = {"batch": len(users), "d": dim, "layers": num_layers, "nodes": graph.num_nodes}
    work = batch_work(graph, len(users), (num_layers + 1) * dim)
    return Case(
        "bpr",
        "on propagated embeddings, forward + backward",
        setting,
        providers,
        floor=[(layer_work(graph, dim), 2 * num_layers), (work, 1)],
        difference=relative_difference,
    )
