"""Building the graph from pairs in random order.

Floor: the pairs are read, and what the graph consists of is written; sorting is not counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from bench.data import Context, Ints, random_interactions
from bench.floor import Work
from bench.harness import Case
from rlmrec_fast.graph import InteractionGraph


def cases(context: Context) -> Iterator[Case]:
    users, items = (ids.numpy() for ids in context.graph.interactions())
    order = np.random.default_rng(1).permutation(len(users))
    shape = context.graph.num_users, context.graph.num_items
    yield building("Amazon's size", users[order], items[order], *shape)
    for name, sizes in {
        "Gowalla's size": (29_858, 40_981, 810_128),
        "five million": (300_000, 100_000, context.pick(5_000_000, 2_000_000, 0)),
    }.items():
        shape, total = context.pick(sizes[:2], sizes[:2], (80, 90)), sizes[2]
        pairs = random_interactions(*shape, context.pick(total, total, 900))
        yield building(name, *pairs, *shape)


def building(name: str, users: Ints, items: Ints, num_users: int, num_items: int) -> Case:
    """De-duplicated CSR both ways, degrees, D^-1/2, positions of reverse edges."""

    def ours() -> InteractionGraph:
        return InteractionGraph.from_pairs(users, items, num_users, num_items)

    def scipy_adjacency() -> Any:
        ones = np.ones(len(users), np.float32)
        interactions = sp.csr_array((ones, (users, items)), shape=(num_users, num_items))
        interactions.sum_duplicates()
        interactions.data[:] = 1
        return sp.block_array([[None, interactions], [interactions.T, None]], format="csr")

    def rlmrec() -> torch.Tensor:
        adjacency = scipy_adjacency()
        degrees = adjacency.sum(axis=1)
        scale = np.where(degrees > 0, np.maximum(degrees, 1) ** -0.5, 0)
        entries = adjacency.multiply(scale[:, None]).multiply(scale[None, :]).tocoo()
        indices = torch.from_numpy(np.stack([entries.row, entries.col]).astype(np.int64))
        values = torch.from_numpy(entries.data.astype(np.float32))
        return torch.sparse_coo_tensor(indices, values, entries.shape, check_invariants=False)

    def scipy_full() -> tuple[Any, ...]:
        adjacency = scipy_adjacency()
        adjacency.sort_indices()
        degrees = np.diff(adjacency.indptr)
        scale = np.where(degrees > 0, np.maximum(degrees, 1) ** -0.5, 0)
        # The transpose of the positions: where the reverse of every edge stands.
        positions = np.arange(adjacency.nnz)
        numbered = sp.csr_array((positions, adjacency.indices, adjacency.indptr), adjacency.shape)
        return adjacency, scale, numbered.T.tocsr().data

    pairs, nodes = len(users), num_users + num_items
    return Case(
        "graph",
        f"build, {name}",
        {"users": num_users, "items": num_items, "interactions": pairs},
        {
            "rlmrec_fast": lambda: ours,
            "scipy, the same contents": lambda: scipy_full,
            "scipy, RLMRec's normalised COO": lambda: rlmrec,
        },
        floor=[(Work(pairs * (16 + 8 + 8 + 16) + nodes * (8 + 8 + 8)), 1)],
    )
