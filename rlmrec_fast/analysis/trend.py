"""Alignment trend: are things with similar texts near in the embedding?

All pairs are put into bins by the cosine of their texts; the mean cosine of the embeddings in each
bin rises with the texts' similarity where the two spaces agree. It is the second measure of the
report "Quantifying Representation Learning with Large Language Models for Recommendation".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import combinations_with_replacement
from math import isqrt, sqrt

import numpy as np
from scipy import stats

from rlmrec_fast.analysis.tables import Estimate, Floats, Ints, Table, as_tables, directions

MAX_PAIRS = 10**8
MAX_RANKED = 2**20

_GROUPS = 20


@dataclass(frozen=True, eq=False)
class Trend:
    """Mean cosine in some tables by cosine of the texts, over pairs of rows.

    Attributes:
        names: of the tables, R.
        edges: float64 `[bins + 1]`, from -1 to 1.
        pairs: int64 `[bins]`, in each bin.
        mean: float64 `[R, bins]`; NaN where a bin is empty.
        low: float64 `[R, bins]`, the lower end of the mean's confidence interval; NaN where a bin
            would be empty without a twentieth of the rows.
        high: float64 `[R, bins]`, the upper end.
        overall: float64 `[R]`, the mean over all pairs: what every bin would have by chance.
        slope: of the least squares line over pairs, one for each table.
        spearman: float64 `[R]`, the rank correlation over pairs; NaN where a table is constant.
        rows: how many rows the pairs are among.
        total_rows: n.
        ranked: how many pairs the rank correlation is of.
        confidence: of the intervals.
    """

    names: tuple[str, ...]
    edges: Floats
    pairs: Ints
    mean: Floats
    low: Floats
    high: Floats
    overall: Floats
    slope: tuple[Estimate, ...]
    spearman: Floats
    rows: int
    total_rows: int
    ranked: int
    confidence: float

    @property
    def centers(self) -> Floats:
        """The middle of each bin."""
        middle: Floats = (self.edges[1:] + self.edges[:-1]) / 2
        return middle

    @property
    def basis(self) -> str:
        """Which pairs these are, in words."""
        count = int(self.pairs.sum())
        if self.rows == self.total_rows:
            words = f"all {count:,} pairs"
        else:
            words = (
                f"{count:,} pairs, among a seeded sample of {self.rows:,} of {self.total_rows:,}"
            )
        return words if self.ranked == count else f"{words}; ranks of {self.ranked:,} of them"


def trend(
    text: Table,
    tables: Mapping[str, Table],
    *,
    bins: int = 40,
    max_pairs: int = MAX_PAIRS,
    max_ranked: int = MAX_RANKED,
    confidence: float = 0.95,
    seed: int = 0,
) -> Trend:
    """The mean cosine of rows in every table by the cosine of their texts.

    All pairs of different rows count where there are at most `max_pairs`, else those of a seeded
    sample of rows. Cosines are taken in float64, a tile at a time. The confidence intervals are a
    jackknife's over twenty seeded groups of rows, since the pairs of a row are not independent.

    Args:
        text: `[n, t]` text vectors, numpy or torch floats.
        tables: name -> `[n, d]`, row for row of the same things.
        bins: of equal width over [-1, 1], at least 1.
        max_pairs: most pairs to look at, at least 1.
        max_ranked: most pairs to rank; more are sampled, seeded.
        confidence: of the intervals, in (0, 1).
        seed: of samples and groups.

    Raises:
        TypeError: a table is not of floats.
        ValueError: tables do not match or hold NaN or infinity, or an argument is out of range.
    """
    texts, spaces = as_tables("trend", text, tables)
    for name, value in (("bins", bins), ("max_pairs", max_pairs), ("max_ranked", max_ranked)):
        if value < 1:
            raise ValueError(f"trend: {name} must be at least 1 (got {value})")
    if not 0 < confidence < 1:
        raise ValueError(f"trend: confidence must be in (0, 1) (got {confidence})")
    total = len(texts)
    rng = np.random.default_rng([seed, 1])
    # rows (rows - 1) / 2 <= max_pairs
    rows = min(total, (1 + isqrt(1 + 8 * max_pairs)) // 2)
    order = rng.permutation(total)[:rows]
    units = [directions(table[order]) for table in (texts, *spaces.values())]
    sums = _Sums(len(spaces), min(_GROUPS, rows), bins, rows, max_ranked)
    for tile in combinations_with_replacement(range(sums.groups), 2):
        sums.add(tile, units, rng)
    mean, low, high = sums.bin_means(confidence)
    return Trend(
        names=tuple(spaces),
        edges=np.linspace(-1.0, 1.0, bins + 1),
        pairs=sums.count.sum(axis=0),
        mean=mean,
        low=low,
        high=high,
        overall=sums.overall(),
        slope=sums.slopes(confidence),
        spearman=sums.spearman(),
        rows=rows,
        total_rows=total,
        ranked=sum(len(ranked[0]) for ranked in sums.ranked),
        confidence=confidence,
    )


class _Sums:
    """Sums over pairs, kept apart by the tile (group of one row, group of the other)."""

    def __init__(self, tables: int, groups: int, bins: int, rows: int, max_ranked: int) -> None:
        self.groups, self.bins = groups, bins
        self.bounds = np.linspace(0, rows, groups + 1).astype(np.int64)
        self.share = min(1.0, max_ranked / (rows * (rows - 1) // 2))
        self.tiles: list[tuple[int, int]] = []
        self.count: Ints = np.zeros((0, bins), np.int64)  # [tiles, bins]
        self.total: Floats = np.zeros((0, tables, bins))  # [tiles, R, bins]
        self.moments: Floats = np.zeros((0, tables, 4))  # [tiles, R, (x, xx, y, xy)]
        self.ranked: list[list[Floats]] = []

    def add(self, tile: tuple[int, int], units: list[Floats], rng: np.random.Generator) -> None:
        (a, b), (c, d) = ((self.bounds[g], self.bounds[g + 1]) for g in tile)
        above = np.triu_indices(b - a, 1) if tile[0] == tile[1] else None

        def cosines(unit: Floats) -> Floats:
            product: Floats = unit[a:b] @ unit[c:d].T
            return product.ravel() if above is None else product[above]

        x = cosines(units[0])
        place = np.clip(((x + 1) * (self.bins / 2)).astype(np.int64), 0, self.bins - 1)
        ranked = self._pick(len(x), rng)
        total, moments, kept = [], [], [x[ranked]]
        for unit in units[1:]:
            y = cosines(unit)
            total.append(np.bincount(place, y, self.bins))
            moments.append([x.sum(), x @ x, y.sum(), x @ y])
            kept.append(y[ranked])
        self.tiles.append(tile)
        self.ranked.append(kept)
        count = np.bincount(place, minlength=self.bins)
        self.count = np.concatenate([self.count, count[None]])
        self.total = np.concatenate([self.total, np.array(total)[None]])
        self.moments = np.concatenate([self.moments, np.array(moments)[None]])

    def _pick(self, size: int, rng: np.random.Generator) -> Ints | slice:
        if self.share == 1:
            return slice(None)
        return rng.choice(size, int(size * self.share), replace=False, shuffle=False)

    def bin_means(self, confidence: float) -> tuple[Floats, Floats, Floats]:
        """The mean of every bin and its interval's ends: [R, bins] each."""

        def means(kept: Ints | slice) -> Floats:
            count = self.count[kept].sum(axis=0)
            mean: Floats = self.total[kept].sum(axis=0) / np.where(count > 0, count, np.nan)
            return mean

        return self._jackknife(means, confidence)

    def slopes(self, confidence: float) -> tuple[Estimate, ...]:
        """The slope of the least squares line of every table."""

        def slopes(kept: Ints | slice) -> Floats:
            n = self.count[kept].sum()
            x, xx, y, xy = self.moments[kept].sum(axis=0).T
            spread = n * xx - x * x
            slope: Floats = (n * xy - x * y) / np.where(spread > 0, spread, np.nan)
            return slope

        ends = self._jackknife(slopes, confidence)
        return tuple(Estimate(*map(float, row)) for row in np.stack(ends, axis=1))

    def overall(self) -> Floats:
        """The mean of every table over all pairs."""
        mean: Floats = self.moments[:, :, 2].sum(axis=0) / self.count.sum()
        return mean

    def spearman(self) -> Floats:
        """The rank correlation of every table with the texts."""
        texts, *tables = (
            stats.rankdata(np.concatenate(parts)) for parts in zip(*self.ranked, strict=True)
        )
        return np.array([_correlation(texts, table) for table in tables])

    def _jackknife(
        self, statistic: Callable[[Ints | slice], Floats], confidence: float
    ) -> tuple[Floats, Floats, Floats]:
        tiles = np.array(self.tiles)
        value = statistic(slice(None))
        without = np.stack(
            [statistic(np.flatnonzero((tiles != g).all(axis=1))) for g in range(self.groups)]
        )
        spread = (without - without.mean(axis=0)) ** 2
        error = np.sqrt(spread.sum(axis=0) * (self.groups - 1) / self.groups)
        reach = stats.t.ppf((1 + confidence) / 2, max(1, self.groups - 1)) * error
        return value, value - reach, value + reach


def _correlation(x: Floats, y: Floats) -> float:
    x, y = x - x.mean(), y - y.mean()
    length = sqrt(float(x @ x) * float(y @ y))
    return float(x @ y) / length if length else float("nan")
