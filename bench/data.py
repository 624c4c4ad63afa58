"""What the benchmarks run on: Amazon-book if it is at hand, else random data of its size."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import scipy.sparse as sp
import torch

from bench.device import CPU
from rlmrec_fast.data import Dataset, read_rlmrec
from rlmrec_fast.graph import InteractionGraph

Size = Literal["full", "quick", "tiny"]
Ints = np.ndarray[Any, np.dtype[np.int64]]
Floats = np.ndarray[Any, np.dtype[np.float64]]
T = TypeVar("T")

AMAZON_SIZE = (11_000, 9_332, 120_464)
"""Users, items and training interactions of RLMRec's Amazon-book."""
TINY_SIZE = (70, 50, 600)


@dataclass(frozen=True)
class Context:
    """What all cases share.

    Attributes:
        size: `full`; `quick`, with the largest cases made smaller; or `tiny`, for tests.
        threads: torch's number of threads.
        compile: whether torch.compile takes part; it compiles for tens of seconds.
        device: where tables, graphs and ids go, drawn on the CPU, so that all see the same.
    """

    size: Size = "full"
    threads: int = 2
    compile: bool = True
    device: torch.device = CPU.place

    def pick(self, full: T, quick: T, tiny: T) -> T:
        """The value for the size."""
        return {"full": full, "quick": quick, "tiny": tiny}[self.size]

    @cached_property
    def dataset(self) -> Dataset:
        """Amazon-book, or what stands in for it."""
        folder = amazon_folder()
        if folder is not None and self.size != "tiny":
            return read_rlmrec(folder)
        return synthetic_dataset(*self.pick(AMAZON_SIZE, AMAZON_SIZE, TINY_SIZE))

    @cached_property
    def graph(self) -> InteractionGraph:
        """The graph of the training interactions."""
        return InteractionGraph.from_scipy(self.dataset.train).to(self.device)

    @property
    def data(self) -> str:
        """What `dataset` is, in words."""
        return self.dataset.source if self.dataset.name == "synthetic" else self.dataset.name


def amazon_folder() -> Path | None:
    """RLMRec's Amazon folder below the folder that `RLMREC_DATA` names, if it is there."""
    root = os.environ.get("RLMREC_DATA")
    folder = Path(root) / "amazon" if root else None
    return folder if folder is not None and (folder / "trn_mat.pkl").is_file() else None


def synthetic_dataset(users: int, items: int, interactions: int, seed: int = 1) -> Dataset:
    """Random interactions, mildly skewed, with a third as many each for validation and test."""
    total = interactions + 2 * (interactions // 3)
    rows, columns = random_interactions(users, items, total, seed=seed)
    parts = np.split(np.arange(total), [interactions, interactions + interactions // 3])
    train, validation, test = (
        sp.csr_array((np.ones(len(part), np.float32), (rows[part], columns[part])), (users, items))
        for part in parts
    )
    source = f"synthetic, {users} x {items}, {interactions} training interactions"
    return Dataset("synthetic", train, validation, test, source=source)


def random_interactions(
    users: int, items: int, interactions: int, exponent: float = 0.5, seed: int = 1
) -> tuple[Ints, Ints]:
    """Distinct pairs in random order; activity and popularity fall as (place + 20) ** -exponent.

    0.5 gives degrees about as mild as Amazon-book's, 1 gives hubs.
    """
    rng = np.random.default_rng(seed)
    shares = [_shares(rng, n, exponent) for n in (users, items)]
    keys = np.empty(0, np.int64)
    while len(keys) < interactions:
        more = interactions - len(keys) + 16
        user, item = (rng.choice(len(share), more, p=share) for share in shares)
        keys = np.unique(np.append(keys, user * items + item))
    keys = rng.permutation(keys)[:interactions]
    return keys // items, keys % items


def random_graph(
    users: int, items: int, interactions: int, exponent: float = 0.5, hub: bool = False
) -> InteractionGraph:
    """A graph of random interactions; with `hub`, every user also has item 0."""
    rows, columns = random_interactions(users, items, interactions, exponent)
    if hub:
        rows = np.append(rows, np.arange(users))
        columns = np.append(columns, np.zeros(users, np.int64))
    return InteractionGraph.from_pairs(rows, columns, users, items)


def _shares(rng: np.random.Generator, n: int, exponent: float) -> Floats:
    weights: Floats = rng.permutation((np.arange(n) + 20.0) ** -exponent)
    shares: Floats = weights / weights.sum()
    return shares
