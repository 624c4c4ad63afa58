"""Neighbour overlap: do nodes that are near in the embedding have similar texts?

For every item (or user) the k nearest ones by cosine are found in the final embeddings and in the
texts' vectors; the Jaccard index of the two sets, averaged, says how far the spaces agree. It is
the first measure of the report "Quantifying Representation Learning with Large Language Models for
Recommendation" (section 4, table 1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, lgamma
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr
from torch import Tensor

from rlmrec_fast import ops
from rlmrec_fast.analysis.tables import Estimate, Floats, Table, as_tables

KS = (10, 20, 50, 100)
"""Neighbours that are looked at; the last is the report's."""

_BLOCK = 2**20


class Curves(NamedTuple):
    """One line per table over common places.

    Attributes:
        x: float64 `[m]`; the edges, one more, of a histogram.
        y: float64 `[tables, m]`.
    """

    x: Floats
    y: Floats


@dataclass(frozen=True, eq=False)
class Overlap:
    """How far the neighbours in some tables are those in the texts.

    Attributes:
        names: of the tables, R.
        ks: how many neighbours, ascending, S.
        jaccard: float64 `[R, S, n]`, of every row.
        mean: float64 `[R, S]`.
        low: float64 `[R, S]`, the lower end of the mean's confidence interval.
        high: float64 `[R, S]`, the upper end.
        chance: float64 `[S]`, the mean that independent neighbourhoods would have.
        text_neighbors: int64 `[n, max(ks)]`, of `ops.neighbors`.
        neighbors: the same of every table.
        confidence: of the intervals.
        resampled: float64 `[resamples, R, S]`, bootstrapped means.
        notes: what was not done as asked, in words.
    """

    names: tuple[str, ...]
    ks: tuple[int, ...]
    jaccard: Floats
    mean: Floats
    low: Floats
    high: Floats
    chance: Floats
    text_neighbors: Tensor
    neighbors: dict[str, Tensor]
    confidence: float
    resampled: Floats
    notes: tuple[str, ...]

    @property
    def k(self) -> int:
        """The most neighbours, which every single figure is about."""
        return self.ks[-1]

    def estimate(self, name: str, k: int | None = None) -> Estimate:
        """The mean of one table."""
        at = self._at(name, k)
        return Estimate(*(float(values[at]) for values in (self.mean, self.low, self.high)))

    def gain(self, name: str, over: str, k: int | None = None) -> Estimate | None:
        """The relative gain of one table over another; None over an overlap of zero.

        The interval is of the ratio itself: both means are taken over the same resampled rows.
        """
        new, base = self._at(name, k), self._at(over, k)
        if not self.mean[base]:
            return None
        below = self.resampled[:, base[0], base[1]]
        ratios = self.resampled[:, new[0], new[1]][below > 0] / below[below > 0] - 1
        low, high = _interval(ratios, self.confidence)
        return Estimate(float(self.mean[new] / self.mean[base] - 1), float(low), float(high))

    def cdf(self, k: int | None = None, points: int = 200) -> Curves:
        """The smoothed share of rows whose index is at most x.

        A Gaussian kernel, reflected at 0 and 1, of Silverman's width.
        """
        values = self.jaccard[:, self._k_at(k)]
        x = np.linspace(0.0, 1.0, points)
        return Curves(x, np.stack([_smooth_cdf(row, x) for row in values]))

    def histogram(self, k: int | None = None, bins: int = 40) -> Curves:
        """The share of rows in at most so many bins, from 0 to the largest index of any table.

        With s neighbours shared the index is s / (2 k - s). Every bin holds as many values of s;
        bins of equal width would hold now more of them and now fewer.
        """
        values = self.jaccard[:, self._k_at(k)]
        size = self.k if k is None else k
        shared = np.rint(2 * size * values / (1 + values)).astype(np.int64)
        most = int(shared.max())
        step = -(-(most + 1) // bins)
        starts = np.arange(0, most + 1 + step, step)
        # Half way between what can be; nothing is below 0.
        between = np.maximum(starts - 0.5, 0)
        edges = between / (2 * size - between)
        counts = [np.bincount(row // step, minlength=len(edges) - 1) for row in shared]
        return Curves(edges, np.stack(counts) / values.shape[1])

    def _k_at(self, k: int | None) -> int:
        if k is not None and k not in self.ks:
            raise ValueError(f"Overlap: k must be one of {self.ks} (got {k})")
        return len(self.ks) - 1 if k is None else self.ks.index(k)

    def _at(self, name: str, k: int | None) -> tuple[int, int]:
        if name not in self.names:
            raise ValueError(f"Overlap: name must be one of {', '.join(self.names)} (got {name!r})")
        return self.names.index(name), self._k_at(k)


def overlap(
    text: Table,
    tables: Mapping[str, Table],
    ks: Sequence[int] = KS,
    *,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Overlap:
    """The Jaccard index of each row's neighbours in every table with those in the texts.

    Args:
        text: `[n, t]` text vectors, numpy or torch floats.
        tables: name -> `[n, d]`, row for row of the same things.
        ks: how many neighbours, each at least 1. Those above n - 1 become n - 1, which is noted.
        confidence: of the intervals, in (0, 1).
        resamples: bootstrapped means behind them, at least 1.
        seed: of the bootstrap.

    Raises:
        TypeError: a table is not of floats.
        ValueError: tables do not match or hold NaN or infinity, or an argument is out of range.
    """
    texts, spaces = as_tables("overlap", text, tables)
    _check(ks, confidence, resamples)
    rows = len(texts)
    used = tuple(sorted({min(k, rows - 1) for k in ks}))
    notes = _reduction(ks, rows)
    near_text = ops.neighbors(texts, used[-1])
    near = {name: ops.neighbors(table, used[-1]) for name, table in spaces.items()}
    # The first k of more neighbours are the k nearest: ties are ordered by number.
    jaccard = np.stack(
        [
            np.stack([ops.neighbor_overlap(ids[:, :k], near_text[:, :k]).numpy() for k in used])
            for ids in near.values()
        ]
    )
    resampled = _bootstrap(jaccard.reshape(-1, rows), resamples, seed).reshape(
        resamples, *jaccard.shape[:2]
    )
    low, high = _interval(resampled, confidence)
    return Overlap(
        names=tuple(spaces),
        ks=used,
        jaccard=jaccard,
        mean=jaccard.mean(axis=2),
        low=low,
        high=high,
        chance=np.array([chance_overlap(rows - 1, k) for k in used]),
        text_neighbors=near_text,
        neighbors=near,
        confidence=confidence,
        resampled=resampled,
        notes=notes,
    )


def chance_overlap(others: int, k: int) -> float:
    """The expected Jaccard index of two independent random sets of k among some others.

    The number of shared ones is hypergeometric.
    """
    k = min(k, others)

    def ways(n: int, m: int) -> float:
        return lgamma(n + 1) - lgamma(m + 1) - lgamma(n - m + 1)

    shared = range(max(0, 2 * k - others), k + 1)
    return sum(
        exp(ways(k, s) + ways(others - k, k - s) - ways(others, k)) * s / (2 * k - s)
        for s in shared
        if s
    )


def _check(ks: Sequence[int], confidence: float, resamples: int) -> None:
    if not ks or min(ks) < 1:
        raise ValueError(f"overlap: ks must be at least 1 (got {tuple(ks)})")
    if not 0 < confidence < 1:
        raise ValueError(f"overlap: confidence must be in (0, 1) (got {confidence})")
    if resamples < 1:
        raise ValueError(f"overlap: resamples must be at least 1 (got {resamples})")


def _reduction(ks: Sequence[int], rows: int) -> tuple[str, ...]:
    if max(ks) <= rows - 1:
        return ()
    return (f"K was reduced to {rows - 1}: of {rows} rows each has no more neighbours.",)


def _bootstrap(values: Floats, resamples: int, seed: int) -> Floats:
    """Means of rows [m, n] over resampled columns, the same for all rows: [resamples, m]."""
    rng = np.random.default_rng([seed, 0])
    columns = values.shape[1]
    step = max(1, _BLOCK // columns)
    means = []
    for start in range(0, resamples, step):
        drawn = min(step, resamples - start)
        picks = rng.integers(0, columns, (drawn, columns)) + columns * np.arange(drawn)[:, None]
        counts = np.bincount(picks.ravel(), minlength=drawn * columns).reshape(drawn, columns)
        means.append(counts @ values.T / columns)
    return np.concatenate(means)


def _interval(resampled: Floats, confidence: float) -> Floats:
    if not len(resampled):
        return np.full((2, *resampled.shape[1:]), np.nan)
    tail = (1 - confidence) / 2
    ends: Floats = np.quantile(resampled, [tail, 1 - tail], axis=0)
    return ends


def _smooth_cdf(values: Floats, x: Floats) -> Floats:
    # An index is one of k + 1 fractions: as many kernels do for any number of rows.
    places, counts = np.unique(values, return_counts=True)
    spread = min(values.std(), float(np.subtract(*np.quantile(values, [0.75, 0.25]))) / 1.34)
    width = max(0.9 * (spread or values.std()) * len(values) ** -0.2, 1e-4)
    at = x[:, None]

    def mass(center: Floats) -> Floats:
        below: Floats = ndtr((at - center) / width) - ndtr(-center / width)
        return below

    smooth: Floats = (mass(places) + mass(-places) + mass(2 - places)) @ (counts / len(values))
    return np.minimum(smooth, 1.0)
