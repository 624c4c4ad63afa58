"""Attention along edges, forward and backward, on a graph like AutoCF's decoder's on Amazon.

Floor: forward every entry gathers a row of keys and one of values, at best from L2; backward one
walk gathers them again for the queries' gradient, another one queries and upstream gradients for
those of keys and values. Tables and gradients are moved once, the graph once a walk. A product and
a sum for every entry and column are four operations forward, six and eight in the walks backward;
an exponential, once a walk for every entry and head, counts as the eight multiplications and
additions of its polynomial.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor

from bench import alternatives
from bench.data import Context
from bench.floor import Work
from bench.harness import Call, Case, Setup, relative_difference
from rlmrec_fast import SymmetricGraph, ops
from rlmrec_fast.ops import reference

OURS, EAGER, COMPILED = "rlmrec_fast", "torch eager", "torch.compile"
EXPONENTIAL = 16

Attention = Callable[..., Tensor]


def cases(context: Context) -> Iterator[Case]:
    nodes, pairs = context.pick((20_332, 360_000), (20_332, 360_000), (120, 400))
    graph = decoder_graph(nodes, pairs).to(context.device)
    yield attention(context, graph, 32, 4, backward=False)
    yield attention(context, graph, 32, 4, backward=True)
    yield attention(context, graph, 64, 4, backward=True)


def decoder_graph(nodes: int, pairs: int, seed: int = 1) -> SymmetricGraph:
    """Random pairs both ways and all self-loops, as AutoCF's decoder graph nearly is."""
    ends = np.random.default_rng(seed).integers(0, nodes, (2, pairs))
    loops = np.arange(nodes)
    rows = np.concatenate([*ends, loops])
    columns = np.concatenate([*ends[::-1], loops])
    rows, columns = np.divmod(np.unique(rows * nodes + columns), nodes)
    offsets = np.concatenate([[0], np.bincount(rows, minlength=nodes).cumsum()])
    return SymmetricGraph.from_csr(offsets, columns)


def edges_work(entries: int, nodes: int, dim: int, heads: int, flops: int, tables: int) -> Work:
    """The floor of one walk over all entries.

    Args:
        entries: of the graph.
        nodes: of the graph.
        dim: d.
        heads: weights of an entry that take an exponential.
        flops: operations for every entry and column.
        tables: [N, d] tables that are read or written once.
    """
    row = dim * 4
    streamed = entries * 4 + nodes * (tables * row + 8)
    work = entries * (flops * dim + EXPONENTIAL * heads)
    return Work(streamed, work, cached=2 * entries * row)


def attention(
    context: Context, graph: SymmetricGraph, dim: int, heads: int, backward: bool
) -> Case:
    """The result, and with `backward` the gradients of queries, keys and values."""
    nodes, entries = graph.num_nodes, len(graph.columns)
    generator = torch.Generator().manual_seed(1)
    *tables, upstream = (
        torch.randn(nodes, dim, generator=generator).to(context.device) / 2 for _ in range(4)
    )
    tables = [table.requires_grad_(backward) for table in tables]

    def call(operator: Attention) -> Call:
        def step() -> object:
            y = operator(*tables)
            return torch.autograd.grad(y, tables, upstream) if backward else y

        return step

    def compiled(operator: Attention) -> Call:
        return call(alternatives.compiled(operator, *tables))

    ours, eager = (
        partial(module.edge_attention, graph=graph, num_heads=heads) for module in (ops, reference)
    )
    providers: dict[str, Setup] = {OURS: partial(call, ours), EAGER: partial(call, eager)}
    if context.compile:
        providers[COMPILED] = partial(compiled, eager)
    walk = partial(edges_work, entries, nodes, dim, heads)
    walks = [(walk(4, 4), 1.0)]
    if backward:
        walks += [(walk(6, 6), 1.0), (walk(8, 6), 1.0)]
    return Case(
        "edge_attention",
        "forward + backward" if backward else "forward",
        {"nodes": nodes, "entries": entries, "d": dim, "heads": heads},
        providers,
        floor=walks,
        difference=relative_difference,
    )
