"""Nearest rows of a table by cosine, and how far two neighbourhoods agree.

Floor: a multiplication and an addition for every pair of rows and column, once for both rows; the
table is read and the result written once. The peak is that of float32, which integers can beat.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from bench import alternatives
from bench.data import Context
from bench.floor import Work
from bench.harness import Call, Case, UnavailableError, relative_difference
from rlmrec_fast import ops
from rlmrec_fast.ops import reference

OURS, TORCH, SETS = "rlmrec_fast", "torch, full similarity + topk", "Python sets"
BATCH = 1024
K = 100
_LARGEST = 4 << 30
"""Bytes of similarities that torch's way may take on a CPU; a GPU itself says what is too much."""


def cases(context: Context) -> Iterator[Case]:
    yield nearest(context, context.pick(11_000, 11_000, 400), 384, {TORCH: 4})
    yield nearest(context, context.pick(9_332, 9_332, 300), 32, {})
    yield nearest(context, context.pick(100_000, 100_000, 500), 64, {})
    yield overlap(context, context.pick(11_000, 11_000, 200))


def neighbors_work(rows: int, dim: int, k: int) -> Work:
    """The floor of finding the k nearest rows of each."""
    return Work(rows * dim * 4 + rows * k * 8, rows * (rows - 1) * dim)


def nearest(context: Context, rows: int, dim: int, targets: dict[str, float]) -> Case:
    """The 100 nearest of random rows."""
    table = torch.randn(rows, dim, generator=torch.Generator().manual_seed(1)).to(context.device)

    def full() -> Call:
        size = rows * rows * table.element_size()
        if size > _LARGEST and context.device.type == "cpu":
            raise UnavailableError(f"needs {size / 1e9:.0f} GB for the similarities")
        return partial(alternatives.torch_neighbors, table, K, rows)

    providers = {
        OURS: lambda: partial(ops.neighbors, table, K),
        TORCH: full,
        f"torch, {BATCH:,} rows at a time": lambda: partial(
            alternatives.torch_neighbors, table, K, BATCH
        ),
    }
    setting = {"rows": rows, "d": dim, "k": K}
    floor = [(neighbors_work(rows, dim, K), 1.0)]
    return Case("neighbors", "neighbors", setting, providers, targets, floor, share_of_others)


def overlap(context: Context, rows: int) -> Case:
    """The Jaccard index of two lists of neighbours of each row."""
    generator = torch.Generator().manual_seed(1)
    drawn = [torch.rand(rows, 4 * K, generator=generator).argsort(1)[:, :K] for _ in range(2)]
    lists = [numbers.to(context.device) for numbers in drawn]
    providers = {
        OURS: lambda: partial(ops.neighbor_overlap, *lists),
        SETS: lambda: partial(reference.neighbor_overlap, *lists),
        "torch, sorted together": lambda: partial(alternatives.torch_overlap, *lists),
    }
    work = Work(2 * rows * K * 8 + rows * 8)
    setting = {"rows": rows, "k": K}
    floor = [(work, 1.0)]
    return Case(
        "neighbors",
        "neighbor_overlap",
        setting,
        providers,
        floor=floor,
        difference=relative_difference,
        host={SETS},
    )


def share_of_others(ours: Tensor, theirs: Tensor) -> float:
    """How many of the places in two results hold different rows."""
    return float((ours != theirs).double().mean())
