"""Propagation: one layer, and three layers forward and backward with edge dropout.

Floor of a layer: every entry gathers a row of the table, at best from L2 (columns can be worked on
in blocks that fit); the table, the result and the graph are moved once; a multiplication and an
addition for every entry and column.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from bench import alternatives, reference
from bench.data import Context, random_graph
from bench.floor import Work
from bench.harness import Call, Case, Setup, relative_difference
from rlmrec_fast import ops
from rlmrec_fast.graph import InteractionGraph

OURS, COO, CSR32, CSR64 = "rlmrec_fast", "torch COO", "torch CSR int32", "torch CSR int64"
RLMREC = "RLMRec (COO masked each step)"
KEEP_RATE, LAYERS = 0.8, 3


def cases(context: Context) -> Iterator[Case]:
    graph = context.graph
    yield one_layer("one layer", graph, 32, context, {COO: 35, CSR32: 2.8, CSR64: 2.8})
    for dim in (64, 128):
        yield one_layer("one layer", graph, dim, context, {CSR32: 2.5, CSR64: 2.5})
    yield one_layer("one layer, bfloat16", graph, 64, context, {}, torch.bfloat16)
    yield training("three layers, dropout, forward + backward", graph, 32, {RLMREC: 20})
    yield training("three layers, dropout, forward + backward", graph, 128)

    sizes = context.pick((29_858, 40_981, 810_128), (29_858, 40_981, 810_128), (80, 90, 900))
    gowalla = random_graph(*sizes).to(context.device)
    yield one_layer("one layer, Gowalla's size", gowalla, 64, context)
    yield training("three layers, dropout, Gowalla's size", gowalla, 64)
    sizes = context.pick((30_000, 20_000, 500_000), (30_000, 20_000, 500_000), (80, 90, 900))
    hubs = random_graph(*sizes, exponent=1.0, hub=True).to(context.device)
    yield one_layer("one layer, hubs", hubs, 64, context)
    small = random_graph(200, 100, 1_000).to(context.device)
    yield one_layer("one layer, tiny graph", small, 32, context)
    yield training("three layers, dropout, tiny graph", small, 32)


def layer_work(graph: InteractionGraph, dim: int, item_size: int = 4) -> Work:
    """The floor of one layer."""
    entries, nodes = len(graph.columns), graph.num_nodes
    row = dim * item_size
    streamed = entries * 4 + nodes * (2 * row + 4 + 8)
    return Work(streamed, 2 * entries * dim, cached=entries * row)


def one_layer(
    name: str,
    graph: InteractionGraph,
    dim: int,
    context: Context,
    targets: dict[str, float] | None = None,
    dtype: torch.dtype = torch.float32,
) -> Case:
    """A @ x without gradients."""
    x = torch.randn(graph.num_nodes, dim, generator=torch.Generator().manual_seed(1))
    x = x.to(context.device)
    offsets, columns = graph.offsets, graph.columns
    # torch has products of sparse matrices and 16-bit tables on GPUs only; on the CPU its fp32 ones
    # are the alternatives.
    theirs = torch.float32 if context.device.type == "cpu" else dtype
    values, other_x = alternatives.edge_values(graph, theirs), x.to(theirs)

    def ours(table: Tensor) -> Call:
        return lambda: ops.propagate(table, graph, 1, combine="last")

    def csr(index: torch.dtype) -> Call:
        matrix = alternatives.csr_matrix(offsets.to(index), columns.to(index), values)
        return alternatives.supported(lambda: matrix @ other_x)

    def coo() -> Call:
        matrix = alternatives.coo_adjacency(graph, theirs)
        return alternatives.supported(lambda: torch.spmm(matrix, other_x))

    def gather() -> Call:
        function = alternatives.compiled(alternatives.gather_scatter(graph), x)
        return partial(function, x)

    providers: dict[str, Setup] = {OURS: lambda: ours(x.to(dtype))}
    if dtype != torch.float32:
        providers[f"{OURS} fp32"] = lambda: ours(x)
    providers |= {COO: coo, CSR32: lambda: csr(torch.int32), CSR64: lambda: csr(torch.int64)}
    if context.compile and dim == 32:
        providers["torch.compile of gather and index_add"] = gather
    setting = _setting(graph) | {"d": dim}
    work = layer_work(graph, dim, dtype.itemsize)
    return Case(
        "propagate", name, setting, providers, targets or {}, [(work, 1)], relative_difference
    )


def training(
    name: str, graph: InteractionGraph, dim: int, targets: dict[str, float] | None = None
) -> Case:
    """Sum of E_0 .. E_L with dropout, and its gradient. Everyone draws masks of their own."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(graph.num_nodes, dim, generator=generator).to(graph.device).requires_grad_()
    upstream = torch.randn(graph.num_nodes, dim, generator=generator).to(graph.device)
    adjacency = alternatives.coo_adjacency(graph)
    step = 0

    def ours() -> Tensor:
        nonlocal step
        step += 1
        return ops.propagate(x, graph, LAYERS, keep_rate=KEEP_RATE, seed=step)

    def rlmrec() -> Tensor:
        return reference.propagate(reference.drop_edges(adjacency, KEEP_RATE), x, LAYERS)

    def csr(compact: bool) -> Callable[[], Tensor]:
        propagation = alternatives.CsrPropagation(graph, compact)
        return lambda: propagation(x, LAYERS, KEEP_RATE)

    def with_backward(provider: str) -> Call:
        def call() -> object:
            return torch.autograd.grad(forwards[provider](), x, upstream)

        return call if provider == OURS else alternatives.supported(call)

    forwards = {
        OURS: ours,
        RLMREC: rlmrec,
        "torch CSR, dropped values zeroed": csr(compact=False),
        "torch CSR rebuilt": csr(compact=True),
    }
    known = {_address(tensor) for tensor in (x, upstream, *vars(graph).values()) if _is(tensor)}
    return Case(
        "propagate",
        name,
        _setting(graph) | {"d": dim, "layers": LAYERS, "keep rate": KEEP_RATE},
        {provider: partial(with_backward, provider) for provider in forwards},
        targets or {},
        [(layer_work(graph, dim), 2 * LAYERS)],
        details={
            provider: partial(_saved, forward, known) for provider, forward in forwards.items()
        },
    )


def _setting(graph: InteractionGraph) -> dict[str, Any]:
    return {
        "users": graph.num_users,
        "items": graph.num_items,
        "interactions": graph.num_interactions,
    }


def _saved(forward: Callable[[], Tensor], known: set[int]) -> dict[str, Any]:
    """Bytes that a forward pass keeps for the backward pass, beyond the graph and x."""
    storages: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        for part in _dense_parts(tensor):
            if _address(part) not in known:
                storages[_address(part)] = part.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = forward()
    del result
    return {"saved for backward": sum(storages.values())}


def _dense_parts(tensor: Tensor) -> list[Tensor]:
    if tensor.layout == torch.sparse_coo:
        return [tensor._indices(), tensor._values()]
    if tensor.layout == torch.sparse_csr:
        return [tensor.crow_indices(), tensor.col_indices(), tensor.values()]
    return [tensor]


def _is(value: object) -> bool:
    return isinstance(value, Tensor)


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
