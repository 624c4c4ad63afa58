"""Splits every user's interactions into training, validation and test."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from rlmrec_fast.data.matrices import SPLITS
from rlmrec_fast.graph import split_per_user
from rlmrec_fast.ops.random import child_seeds, derive_seed

METHODS = ("random", "time", "leave-one-out")

# What a derived seed is for; large, because operators count theirs from 0.
_ORDER = 0x53706C69


@dataclass(frozen=True)
class Split:
    """How every user's interactions are split.

    `random` takes shares of them at random, `time` the same shares in the order of time, and
    `leave-one-out` the last for the test, the last but one for the validation and the rest for
    training (in the order of time where it is known, else at random; a user with two has none for
    the validation, a user with one has it in training). Hashes of (seed, user, item) decide what is
    random, and the order of interactions at one time.

    Attributes:
        method: one of `METHODS`.
        ratios: of training, validation and test; at least 0, training above 0.
        seed: in [0, 2**63).

    Raises:
        ValueError: a value is out of bounds.
    """

    method: str = "random"
    ratios: tuple[float, float, float] = (3, 1, 1)
    seed: int = 2023

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(
                f"prepare: split must be one of {', '.join(METHODS)} (got {self.method!r})"
            )
        fits = len(self.ratios) == 3 and all(0 <= ratio < 1e9 for ratio in self.ratios)
        if not fits or self.ratios[0] <= 0:
            raise ValueError(
                "prepare: ratios must be three numbers, at least 0, such as 3:1:1, the first above"
                f" 0 (got {':'.join(f'{ratio:g}' for ratio in self.ratios)})"
            )
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"prepare: seed must be in [0, 2**63) (got {self.seed})")

    def __str__(self) -> str:
        shares = ":".join(f"{ratio:g}" for ratio in self.ratios)
        parts = {"random": f"at random {shares}", "time": f"by time {shares}"}
        return f"{parts.get(self.method, self.method)}, seed {self.seed}"

    def require_times(self, there: bool) -> None:
        """Refuses a split by time of interactions without times.

        Raises:
            ValueError: there are none.
        """
        if not there:
            raise ValueError(
                "prepare: split time needs a column with times in every file; say which with"
                " --columns time=COLUMN (got none)"
            )

    def labels(self, pairs: pl.DataFrame, shape: tuple[int, int]) -> NDArray[np.int8]:
        """Which part every interaction belongs to.

        Args:
            pairs: distinct; `user` and `item`, numbers, and perhaps `time`.
            shape: numbers of users and items.

        Returns:
            Places in `matrices.SPLITS`.

        Raises:
            ValueError: the split is by time, and there is none.
        """
        users, items = (pairs[side].to_numpy().astype(np.int64) for side in ("user", "item"))
        timed = "time" in pairs.columns
        if self.method == "random":
            return split_per_user(users, items, *shape, ratios=self.ratios, seed=self.seed)
        if self.method == "time":
            self.require_times(timed)
        place = torch.from_numpy(users * shape[1] + items)
        keys = [child_seeds(derive_seed(self.seed, _ORDER), place).numpy()]
        if timed:
            keys.append(pairs["time"].to_numpy())
        order = np.lexsort((*keys, users))
        counts = np.bincount(users, minlength=shape[0])
        in_order = np.arange(len(users)) - np.repeat(counts.cumsum() - counts, counts)
        sizes = {int(count): self._counts(int(count)) for count in np.unique(counts)}
        table = np.zeros((int(counts.max(initial=0)) + 1, len(SPLITS)), np.int64)
        for count, parts in sizes.items():
            table[count] = parts
        ends = table.cumsum(axis=1)[counts[users[order]]]
        labels = np.empty(len(users), np.int8)
        labels[order] = (in_order >= ends[:, 0]).astype(np.int8) + (in_order >= ends[:, 1])
        return labels

    def _counts(self, count: int) -> tuple[int, int, int]:
        """How many of a user's interactions go to each part."""
        if self.method == "leave-one-out":
            test, validation = int(count >= 2), int(count >= 3)
            return count - validation - test, validation, test
        return split_counts(count, self.ratios)


def split_counts(count: int, ratios: tuple[float, float, float]) -> tuple[int, int, int]:
    """Shares as `graph.split_per_user` has them, but that equal fractions favour the earlier part.

    Args:
        count: interactions of one user.
        ratios: of the three parts.
    """
    shares = [count * ratio / math.fsum(ratios) for ratio in ratios]
    counts = [math.floor(share) for share in shares]
    fractions = sorted(range(3), key=lambda part: counts[part] - shares[part])
    for part in fractions[: count - sum(counts)]:
        counts[part] += 1
    wanted = [part for part in range(3) if ratios[part] > 0]
    if count >= len(wanted):
        for part in wanted:
            if not counts[part]:
                counts[counts.index(max(counts))] -= 1
                counts[part] += 1
    return counts[0], counts[1], counts[2]
