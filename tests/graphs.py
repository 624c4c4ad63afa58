"""Small graphs of every shape that operators must survive, by name."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch

from rlmrec_fast.graph import InteractionGraph, WeightedGraph
from rlmrec_fast.symmetric import SymmetricGraph

NAMES = ("random", "loops", "empty", "empty_loops", "single", "parts", "star")


def make_graph(name: str) -> InteractionGraph:
    """On the default device."""
    device = torch.get_default_device()
    with torch.device("cpu"):
        graph = _make_graph(name)
    return graph if device.type == "cpu" else graph.to(device)


@cache
def _make_graph(name: str) -> InteractionGraph:
    rng = np.random.default_rng(5)
    none = np.zeros(0, np.int64)
    if name in ("random", "loops"):
        users, items = rng.integers(0, 39, 300), rng.integers(1, 30, 300)
        return InteractionGraph.from_pairs(users, items, 40, 30, self_loops=name == "loops")
    if name in ("empty", "empty_loops"):
        return InteractionGraph.from_pairs(none, none, 5, 4, self_loops=name == "empty_loops")
    if name == "single":
        return InteractionGraph.from_pairs([0], [0], 1, 1)
    if name == "parts":
        users = rng.integers(0, 3000, 20_000)
        items = (rng.random(20_000) ** 2 * 500).astype(np.int64)
        return InteractionGraph.from_pairs(users, items, 3000, 500)
    users = np.concatenate([np.arange(100_000), np.arange(3)])
    return InteractionGraph.from_pairs(users, np.arange(100_003) // 100_000, 100_000, 2)


@cache
def make_symmetric_graph(nodes: int = 40, edges: int = 150, hub: int = 0) -> SymmetricGraph:
    """Random edges both ways, some self-loops among them; node 1 meets `hub` more, 0 nobody."""
    rng = np.random.default_rng(7)
    ends = rng.integers(1, nodes, (2, edges))
    more = np.stack([np.ones(hub, np.int64), rng.choice(np.arange(1, nodes), hub, replace=False)])
    rows, columns = np.concatenate([ends, ends[::-1], more, more[::-1]], axis=1)
    rows, columns = np.divmod(np.unique(rows * nodes + columns), nodes)
    offsets = np.concatenate([[0], np.bincount(rows, minlength=nodes).cumsum()])
    return SymmetricGraph.from_csr(offsets, columns)


@cache
def make_weighted_graph(rows: int = 30, columns: int = 20, hub: int = 0) -> WeightedGraph:
    """Random signed weights with empty rows and repeated columns; row 1 has `hub` more entries."""
    rng = np.random.default_rng(6)
    lengths = rng.integers(0, 9, rows) * (rng.random(rows) < 0.7)
    lengths[1] += hub
    offsets = np.concatenate([[0], lengths.cumsum()])
    entries = int(offsets[-1])
    return WeightedGraph.from_csr(
        offsets, rng.integers(0, columns, entries), rng.standard_normal(entries), columns
    )
