"""Good arguments of every raw operator of the library, by name."""

from __future__ import annotations

from typing import Any

import torch
from graphs import make_graph, make_weighted_graph

from rlmrec_fast.ops.propagate import COMBINES


def graph_tensors() -> tuple[torch.Tensor, ...]:
    graph = make_graph("random")
    scale = graph.inv_sqrt_degrees.float()
    return graph.offsets, graph.columns, scale, graph.partition, torch.tensor([3])


def matrix_tensors() -> tuple[torch.Tensor, ...]:
    graph = make_weighted_graph()
    rows = (graph.offsets, graph.columns, graph.partition)
    return (
        *rows,
        graph.transposed_offsets,
        graph.transposed_columns,
        graph.transposed_positions,
        graph.transposed_partition,
    )


def leaf(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, requires_grad=True)


def raw_calls() -> dict[str, list[tuple[Any, ...]]]:
    """Argument lists for each operator that takes data."""
    graph, matrix = graph_tensors(), matrix_tensors()
    weights = make_weighted_graph().values.float().requires_grad_()
    rows = torch.tensor([4, 4, 0])
    edges = (graph[0], graph[1], graph[3])
    # Every row of both tables occurs, so that one row less is one too few.
    ids = tuple(torch.arange(12).roll(shift) % 8 for shift in range(3))
    offsets, items = torch.tensor([0, 2, 2, 3]), torch.tensor([1, 3, 0], dtype=torch.int32)
    ranked = torch.tensor([[1, 2], [0, 1], [3, -1]])
    return {
        "propagate": [
            (leaf(70, 5), *graph, chosen, 2, combine, 0.7, noise, transpose)
            for combine in range(len(COMBINES))
            for chosen, noise, transpose in ((None, 0.0, False), (rows, 0.1, False))
        ],
        "propagate_backward": [
            (leaf(70, 15), *graph, None, 2, 2, 0.7, False),
            (leaf(3, 5), *graph, rows, 2, 0, 1.0, True),
            (leaf(2, 15), *graph, rows[1:], 2, 2, 0.7, True),
        ],
        "edge_mask": [(graph[0], graph[1], graph[3], graph[4], 0.7)],
        "spmm": [(leaf(20, 6), weights, *matrix)],
        "spmm_backward_values": [(torch.randn(30, 6), torch.randn(20, 6), *matrix[:3])],
        "edge_attention": [
            (leaf(70, 6), leaf(70, 6), leaf(70, 6), *edges, heads, 10.0, 1e-8) for heads in (2, 1)
        ],
        "edge_attention_backward": [
            (
                *(torch.randn(70, 6), torch.randn(70, 6), torch.rand(70, 2)),
                *(torch.randn(70, 6) for _ in range(3)),
                *(*edges, 2, 10.0, *wanted),
            )
            for wanted in ((True, True, True), (True, False, False), (False, False, True))
        ],
        "adaptive_propagate": [(leaf(70, 5), leaf(70, 5), *edges)],
        "adaptive_propagate_backward": [
            (
                *(torch.randn(70, 5), torch.randn(70, 5), torch.rand(70, 1)),
                *(torch.randn(70, 5), torch.randn(70, 5), *edges, *wanted),
            )
            for wanted in ((True, True), (True, False), (False, True))
        ],
        "bpr": [(leaf(8, 5), leaf(8, 5), *ids), (leaf(8, 5), None, *ids)],
        "bpr_backward": [
            (torch.randn(12), torch.rand(12), torch.randn(8, 5), items_table, *ids)
            for items_table in (torch.randn(8, 5), None)
        ],
        "contrast_losses": [
            (leaf(9, 5), leaf(40, 5), leaf(9, 5), torch.rand(40), 0.2, 1e-8, 0.0, 1, 0),
            (leaf(9, 5), leaf(9, 5), None, None, 1.0, 0.0, 0.0, 0, 0),
            (leaf(9, 5), leaf(9, 5), leaf(9, 5), None, 0.3, 1e-12, 1e-8, 2, 2),
        ],
        "contrast_sum": [
            (
                *(leaf(9, 5), leaf(40, 5), leaf(9, 5), torch.rand(40), torch.rand(9)),
                *(0.2, 1e-8, 0.0, 1, products, *wanted),
            )
            for products, *wanted in (
                (0, True, True, True),
                (2, True, False, False),
                (1, False, True, False),
            )
        ],
        "distinct": [
            (ids, size, padded)
            for ids, size in ((torch.tensor([3, 0, 3]), 4), (torch.tensor([], dtype=torch.long), 0))
            for padded in (False, True)
        ],
        "gather": [(leaf(9, 5), torch.tensor([3, 8, 3]))],
        "gather_backward": [(leaf(3, 5), torch.tensor([3, 8, 3]), 9)],
        "sample_negatives": [(offsets, items, torch.tensor([9]), 6)],
        "draw_subgraphs": [
            (*graph[:2], torch.tensor([3, 40, 3]), torch.tensor([9]), 2, 0.3, padded)
            for padded in (False, True)
        ],
        "seed_scores": [(leaf(9, 5), leaf(9, 5), torch.tensor([9]))],
        "seed_scores_backward": [(torch.randn(9), torch.randn(9, 5), torch.randn(9, 5))],
        "rank": [
            (torch.randn(3, 5), torch.randn(6, 5), None, None, 4),
            (torch.randn(3, 5), torch.randn(6, 5), offsets, items, 9),
        ],
        "neighbors": [(leaf(9, 5), 4), (torch.randn(3, 20).double(), 5)],
        "neighbor_overlap": [(ranked, ranked.flip(0)), (ranked, ranked[:, :1])],
        "ranking_metrics": [(ranked, offsets, items, torch.tensor([1, 2]))],
        "stable_sum": [(leaf(4, 5), False), (leaf(4, 5), True)],
    }
