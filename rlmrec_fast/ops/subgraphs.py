"""The graphs that AutoCF trains on (Xia et al., WWW 2023, arXiv 2303.07797)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rlmrec_fast.graph import InteractionGraph
from rlmrec_fast.ops._autograd import differentiable
from rlmrec_fast.ops._checks import (
    FLOAT_TYPES,
    STORAGE_TYPES,
    check_ids,
    check_integer,
    check_same,
    check_table,
    refuse_second_derivative,
)
from rlmrec_fast.ops.propagate import check_interaction_graph, layer_of_ones
from rlmrec_fast.ops.random import Seed, seed_tensor
from rlmrec_fast.padded import PaddedGraph
from rlmrec_fast.symmetric import SymmetricGraph

_PARTITION_TARGET = 4096
"""Of `InteractionGraph.partition`: bounds how many parts there can be."""


def draw_seeds(
    x: Tensor, graph: InteractionGraph, num_seeds: int, seed: Seed
) -> tuple[Tensor, Tensor]:
    """The nodes that AutoCF masks around: those that are likest their neighbourhood, with noise.

    With S the adjacency of ones and o the degrees, the neighbourhood of two hops is

        f1 = S x - x,  f2 = S f1 - f1 - o * x,  n1 = o,  n2 = S n1 - n1 - o,
        g = (f1 + f2) / (n1 + n2 + 1e-8),

    and the scores are log sigmoid(cos(g, x)) + Gumbel noise, cos by max(length, 1e-12). The noise
    of a node is a hash of seed and node.

    Args:
        x: embeddings [N, d], float32 or float64 (16-bit tables are read as float32).
        graph: a graph of N nodes without self-loops, on x's device.
        num_seeds: in [0, N].
        seed: integer in [0, 2**63) or int64 tensor of one element.

    Returns:
        The nodes with the highest scores, best first, lower ids first among equals: int64
        [num_seeds]; and the scores of all nodes, [N], differentiable in x. Both are equal for any
        number of threads, bit by bit.

    Raises:
        TypeError: an argument is of a wrong type.
        ValueError: a shape or value is out of range, or the graph has self-loops.
    """
    op = "draw_seeds"
    _check_graph(op, graph)
    check_table(op, "x", x, STORAGE_TYPES, graph.num_nodes)
    check_integer(op, "num_seeds", num_seeds)
    if not 0 <= num_seeds <= graph.num_nodes:
        raise ValueError(
            f"{op}: num_seeds must be in [0, {graph.num_nodes}], the number of nodes "
            f"(got {num_seeds})"
        )
    check_same(op, ("x", x), ("graph", graph.offsets))
    noise_seed = seed_tensor(op, seed)
    x = x if x.dtype in FLOAT_TYPES else x.float()
    degrees = graph.degrees[:, None].to(x.dtype)
    # The sums of both hops, in which S x and o cancel.
    features = layer_of_ones(layer_of_ones(x, graph) - x, graph) - degrees * x
    counts = layer_of_ones(degrees, graph) - degrees
    scores: Tensor = _seed_scores(x, features / (counts + 1e-8), noise_seed)
    order = scores.detach().sort(descending=True, stable=True).indices
    return order[:num_seeds].clone(), scores


def draw_subgraphs(
    graph: InteractionGraph,
    seeds: Tensor,
    mask_depth: int,
    keep_rate: float,
    seed: Seed,
    padded: bool = False,
) -> tuple[InteractionGraph, SymmetricGraph]:
    """AutoCF's pair of graphs: one that messages go through, one that attention rebuilds edges on.

    A breadth-first search from the seeds takes `mask_depth` levels, the seeds being the first. It
    removes every edge of a level's nodes; the removed edges' ends are the next level. So the masked
    nodes are those at most mask_depth - 1 edges away from a seed.

    Encoder: what remains, all nodes and the interactions of which neither end is masked; degrees
    are its own. Decoder: nnz = 2 E random pairs of candidates both ways, a self-loop for every
    node, and the encoder's edges, each edge once. Candidates are the masked nodes and
    floor(N * keep_rate) nodes drawn with replacement; both ends of a pair are uniform among them.
    Every draw is a hash of seed and its number.

    Args:
        graph: a graph without self-loops.
        seeds: int64 node ids [n], on the graph's device; repeats change nothing, none
            masks nothing.
        mask_depth: at least 1.
        keep_rate: in (0, 1].
        seed: integer in [0, 2**63) or int64 tensor of one element.
        padded: whether the graphs' tensors are of one length, whatever is drawn, so that nobody
            waits for a GPU (mask_depth at most 65): nnz columns in the encoder, N + 3 nnz in the
            decoder, zeros behind the last edge, where offsets end. Then a GPU leaves out seeds that
            are out of range, and the encoder is good for propagation alone: it cannot tell its
            interactions.

    Returns:
        Encoder and decoder, both of N nodes, on the graph's device, with the edges that they have
        elsewhere. Time is linear in edges.

    Raises:
        TypeError: an argument is of a wrong type.
        ValueError: a value is out of range, or the graph has self-loops.
    """
    op = "draw_subgraphs"
    _check_graph(op, graph)
    seeds = check_ids(op, "seeds", seeds)
    check_integer(op, "mask_depth", mask_depth)
    check_same(op, ("graph", graph.offsets), ("seeds", seeds))
    tensors = torch.ops.rlmrec_fast.draw_subgraphs(
        *(graph.offsets, graph.columns, seeds, seed_tensor(op, seed)),
        *(mask_depth, float(keep_rate), bool(padded)),
    )
    encoder = PaddedGraph._part_of(graph, *tensors[:4]) if padded else graph._part(*tensors[:4])
    return encoder, SymmetricGraph._of_checked(*tensors[4:])


def _check_graph(op: str, graph: InteractionGraph) -> None:
    check_interaction_graph(op, graph)
    if graph.self_loops:
        raise ValueError(f"{op}: graph must have no self-loops (got one that has them)")


@torch.library.register_fake("rlmrec_fast::draw_subgraphs")
def _fake(
    offsets: Tensor,
    columns: Tensor,
    seeds: Tensor,
    seed: Tensor,
    mask_depth: int,
    keep_rate: float,
    padded: bool,
) -> tuple[Tensor, ...]:
    size = offsets.shape[0]
    if padded:
        kept = columns.shape[0]
        pairs = size - 1 + 3 * kept
        sizes: list[Any] = [kept, pairs, *[2 * (size - 1 + pairs) // _PARTITION_TARGET + 2] * 2]
    else:
        sizes = [torch.library.get_ctx().new_dynamic_size() for _ in range(4)]
    kept, pairs, parts, more_parts = sizes
    return (
        offsets.new_empty(size),
        columns.new_empty(kept),
        offsets.new_empty(kept),
        offsets.new_empty(parts, 2),
        offsets.new_empty(size),
        columns.new_empty(pairs),
        offsets.new_empty(more_parts, 2),
    )


@torch.library.register_fake("rlmrec_fast::seed_scores")
def _fake_scores(x: Tensor, summary: Tensor, seed: Tensor) -> Tensor:
    return x.new_empty(x.shape[0])


@torch.library.register_fake("rlmrec_fast::seed_scores_backward")
def _fake_scores_backward(grad: Tensor, x: Tensor, summary: Tensor) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape), x.new_empty(x.shape)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:2])


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    return (*_seed_scores_backward(grad, *ctx.saved_tensors), None)


_seed_scores = differentiable("rlmrec_fast::seed_scores", _backward, _setup)
_seed_scores_backward = differentiable(
    "rlmrec_fast::seed_scores_backward", refuse_second_derivative("seed_scores")
)
