"""Propagation over the normalised user-item graph (LightGCN, He et al., SIGIR 2020)."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from rlmrec_fast.graph import InteractionGraph
from rlmrec_fast.ops._autograd import differentiable
from rlmrec_fast.ops._checks import (
    STORAGE_TYPES,
    check_ids,
    check_integer,
    check_same,
    check_table,
)
from rlmrec_fast.ops.random import Seed, seed_tensor

Combine = Literal["sum", "mean", "concat", "last"]
COMBINES: tuple[Combine, ...] = ("sum", "mean", "concat", "last")


def propagate(
    x: Tensor,
    graph: InteractionGraph,
    num_layers: int,
    *,
    combine: Combine = "sum",
    keep_rate: float = 1.0,
    seed: Seed = 0,
    noise: float = 0.0,
    rows: Tensor | None = None,
) -> Tensor:
    """L layers of propagation: E_0 = x, E_{l+1} = M(A) E_l, and a combination of E_0 .. E_L.

    A = D^-1/2 (adjacency) D^-1/2 is the graph's normalised adjacency; rows of degree 0 give zeros.
    Dropout M keeps every *directed* entry independently with probability ``keep_rate``, the same
    ones in all layers, without rescaling; which ones is a hash of seed and edge (`edge_mask`).
    With ``noise`` = eps > 0 every layer is perturbed as SimGCL does (Yu et al., SIGIR 2022):
    E_l += eps * sign(E_l) * n / ||n||, n uniform in [0, 1)^d per row, fresh per layer.

    The result is linear in x (but for the noise, whose derivative is taken as zero, as autograd
    does), so the backward pass is the adjoint polynomial and saves no activations.

    Args:
        x: embeddings [N, d], users first; float32, float64, bfloat16 or float16 (16-bit tables are
            accumulated in float32). Any d; multiples of 16 are fastest.
        graph: the graph, with N = num_users + num_items nodes, on x's device.
        num_layers: L >= 0.
        combine: ``"sum"`` of E_0 .. E_L (RLMRec's choice), their ``"mean"`` (LightGCN's paper),
            ``"concat"`` along columns, or the ``"last"`` E_L alone.
        keep_rate: probability in (0, 1] of keeping a directed entry.
        seed: integer in [0, 2**63) or int64 tensor of one element.
        noise: eps >= 0.
        rows: int64 node ids [n] whose results are wanted (repeats allowed); None for all nodes.

    Returns:
        [N, d], or [N, (L+1) d] for ``"concat"``; n rows instead of N where ``rows`` is given.
        Equal for any number of threads, bit by bit.

    Raises:
        TypeError: an argument is of a wrong type.
        ValueError: a shape or value is out of range.
    """
    check_propagation("propagate", x, graph, num_layers, combine, keep_rate)
    if not 0 <= noise < 1e30:
        raise ValueError(f"propagate: noise must be finite and not negative (got {noise})")
    if rows is not None:
        rows = check_ids("propagate", "rows", rows)
    arrays = graph_arrays("propagate", x, graph, seed)
    settings = (num_layers, COMBINES.index(combine), float(keep_rate))
    table: Tensor = apply_propagate(x, *arrays, rows, *settings, float(noise), False)
    return table


def layer_of_ones(x: Tensor, graph: InteractionGraph) -> Tensor:
    """The sum of every node's neighbours, [N, d]: `propagate`'s last layer without weights."""
    ones = graph.scale(x.dtype).new_ones(graph.num_nodes)
    last, seed = COMBINES.index("last"), seed_tensor("propagate", 0)
    rows = (graph.offsets, graph.columns, ones, graph.partition, seed, None)
    table: Tensor = apply_propagate(x, *rows, 1, last, 1.0, 0.0, False)
    return table


def edge_mask(graph: InteractionGraph, keep_rate: float, seed: Seed) -> Tensor:
    """Which directed edges `propagate` keeps.

    Args:
        graph: the graph.
        keep_rate: probability in (0, 1] of keeping an entry.
        seed: the seed given to `propagate`.

    Returns:
        bool [nnz], one per entry of ``graph.columns``. Entry e of row r multiplies the embedding of
        ``graph.columns[e]`` on its way to r; ``mask[graph.reverse]`` is the other direction's.
    """
    check_interaction_graph("edge_mask", graph)
    _check_keep_rate("edge_mask", keep_rate)
    mask: Tensor = torch.ops.rlmrec_fast.edge_mask(
        graph.offsets,
        graph.columns,
        graph.partition,
        seed_tensor("edge_mask", seed),
        float(keep_rate),
    )
    return mask


def graph_arrays(op: str, x: Tensor, graph: InteractionGraph, seed: Seed) -> tuple[Tensor, ...]:
    """What the native operators take of a graph, for a table x, and the seed."""
    scale = graph.scale(x.dtype)
    return graph.offsets, graph.columns, scale, graph.partition, seed_tensor(op, seed)


def check_propagation(
    op: str, x: Tensor, graph: InteractionGraph, num_layers: int, combine: str, keep_rate: float
) -> None:
    """Refuses what `propagate` cannot work on."""
    check_interaction_graph(op, graph)
    check_table(op, "x", x, STORAGE_TYPES, graph.num_nodes)
    check_integer(op, "num_layers", num_layers)
    if num_layers < 0:
        raise ValueError(f"{op}: num_layers must not be negative (got {num_layers})")
    if combine not in COMBINES:
        raise ValueError(f"{op}: combine must be one of {COMBINES} (got {combine!r})")
    _check_keep_rate(op, keep_rate)
    check_same(op, ("x", x), ("graph", graph.offsets))


def check_interaction_graph(op: str, graph: InteractionGraph) -> None:
    """Refuses what is not an `InteractionGraph`."""
    if not isinstance(graph, InteractionGraph):
        raise TypeError(f"{op}: graph must be an InteractionGraph (got {type(graph).__name__})")


def _check_keep_rate(op: str, keep_rate: float) -> None:
    if not 0 < keep_rate <= 1:
        raise ValueError(f"{op}: keep_rate must be in (0, 1] (got {keep_rate})")


@torch.library.register_fake("rlmrec_fast::propagate")
def _fake(
    x: Tensor,
    offsets: Tensor,
    columns: Tensor,
    scale: Tensor,
    partition: Tensor,
    seed: Tensor,
    rows: Tensor | None,
    num_layers: int,
    combine: int,
    keep_rate: float,
    noise: float,
    transpose: bool,
) -> Tensor:
    torch._check(x.dim() == 2, lambda: "propagate: x must have two dimensions")
    torch._check(x.shape[0] == offsets.shape[0] - 1, lambda: "propagate: x must have N rows")
    width = x.shape[1] * (num_layers + 1) if COMBINES[combine] == "concat" else x.shape[1]
    return x.new_empty(x.shape[0] if rows is None else rows.shape[0], width)


@torch.library.register_fake("rlmrec_fast::propagate_backward")
def _fake_backward(
    grad: Tensor,
    offsets: Tensor,
    columns: Tensor,
    scale: Tensor,
    partition: Tensor,
    seed: Tensor,
    rows: Tensor | None,
    num_layers: int,
    combine: int,
    keep_rate: float,
    transpose: bool,
) -> Tensor:
    parts = num_layers + 1 if COMBINES[combine] == "concat" else 1
    return grad.new_empty(offsets.shape[0] - 1, grad.shape[1] // parts)


@torch.library.register_fake("rlmrec_fast::edge_mask")
def _fake_mask(
    offsets: Tensor, columns: Tensor, partition: Tensor, seed: Tensor, keep_rate: float
) -> Tensor:
    return columns.new_empty(columns.shape[0], dtype=torch.bool)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, *graph, num_layers, combine, keep_rate, _, transpose = inputs
    ctx.save_for_backward(*graph)
    ctx.settings = (num_layers, combine, keep_rate, transpose)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    grad_x = apply_propagate_backward(grad, *ctx.saved_tensors, *ctx.settings)
    return (grad_x, *[None] * 11)


def _setup_backward(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, *graph, num_layers, combine, keep_rate, transpose = inputs
    ctx.save_for_backward(*graph)
    ctx.settings = (num_layers, combine, keep_rate, 0.0, transpose)


def _double_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    grad_grad = apply_propagate(grad, *ctx.saved_tensors, *ctx.settings)
    return (grad_grad, *[None] * 10)


apply_propagate = differentiable("rlmrec_fast::propagate", _backward, _setup)
apply_propagate_backward = differentiable(
    "rlmrec_fast::propagate_backward", _double_backward, _setup_backward
)
