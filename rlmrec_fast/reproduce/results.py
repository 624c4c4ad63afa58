"""What a grid comes to: metrics over seeds, significance against the backbone, overlap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

import numpy as np

from rlmrec_fast import ops
from rlmrec_fast.analysis.overlap_table import OverlapRow, overlap_table
from rlmrec_fast.reproduce.grid import Cell, Found, Source
from rlmrec_fast.training.evaluation import CUTOFFS, Evaluator
from rlmrec_fast.training.inference import TrainedRun
from rlmrec_fast.training.run import RunFolder

if TYPE_CHECKING:
    from torch import Tensor

METRICS = tuple(f"{name}@{cutoff}" for name in ("recall", "ndcg") for cutoff in CUTOFFS)

Floats = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Row:
    """The runs that differ in nothing but the seed.

    Attributes:
        data: The data set.
        model: The backbone.
        align: The alignment.
        seeds: Of the runs.
        means: Test metric -> mean over the runs.
        deviations: Test metric -> sample deviation over the runs; empty for a single run.
        best_epoch: Mean over the runs.
        seconds: Likewise.
    """

    data: str
    model: str
    align: str
    seeds: tuple[int, ...]
    means: Mapping[str, float]
    deviations: Mapping[str, float]
    best_epoch: float
    seconds: float


@dataclass(frozen=True)
class Comparison:
    """An alignment against its backbone, over users, each with its mean over the seeds of both.

    Attributes:
        data: The data set.
        model: The backbone.
        align: The alignment.
        metric: `recall@20` and so on.
        seeds: That both have.
        users: How many have held-out items.
        backbone: The backbone's mean.
        aligned: The aligned one's mean.
        t_test: The p value of the paired t test, two-sided.
        wilcoxon: The p value of the signed-rank test, two-sided, on users that differ.
    """

    data: str
    model: str
    align: str
    metric: str
    seeds: tuple[int, ...]
    users: int
    backbone: float
    aligned: float
    t_test: float
    wilcoxon: float

    @property
    def gain(self) -> float | None:
        """Relative gain; None where the backbone finds nothing."""
        return self.aligned / self.backbone - 1 if self.backbone else None


def result_rows(cells: Sequence[Cell], finished: Mapping[str, Found]) -> list[Row]:
    """A row for every data set, model and alignment with a finished run, in the grid's order."""
    rows = []
    for key in dict.fromkeys(cell.key for cell in cells):
        runs = [
            (cell.settings.seed, finished[cell.name].result)
            for cell in cells
            if cell.key == key and cell.name in finished
        ]
        if not runs:
            continue
        values = {name: [float(result["test"][name]) for _, result in runs] for name in METRICS}
        several = len(runs) > 1
        rows.append(
            Row(
                *key,
                seeds=tuple(seed for seed, _ in runs),
                means={name: mean(own) for name, own in values.items()},
                deviations={name: stdev(own) for name, own in values.items()} if several else {},
                best_epoch=mean(float(result["best_epoch"]) for _, result in runs),
                seconds=mean(float(result["seconds"]) for _, result in runs),
            )
        )
    return rows


def user_metrics(run: TrainedRun, split: str = "test") -> dict[str, Floats]:
    """Recall and NDCG of every user with held-out items.

    Args:
        run: A trained run.
        split: `validation` or `test`.

    Returns:
        Metric -> float64 `[users]`, whose mean is what `run.evaluate` gives.
    """
    evaluator = Evaluator(run.dataset.train, getattr(run.dataset, split))
    queries = run.user_embedding.index_select(0, evaluator.users)
    items, _ = ops.rank(queries, run.item_embedding, max(CUTOFFS), evaluator.exclude)
    offsets, held_out = (part.numpy() for part in evaluator.held_out)
    hits = _hits(items, offsets, held_out, run.dataset.num_items)
    sizes = np.diff(offsets)
    discount = 1 / np.log2(np.arange(max(CUTOFFS)) + 2.0)
    ideal = np.concatenate([[0.0], np.cumsum(discount)])
    found = {}
    for cutoff in CUTOFFS:
        top = hits[:, :cutoff]
        found[f"recall@{cutoff}"] = top.sum(axis=1) / sizes
        gains = top @ discount[: top.shape[1]]
        found[f"ndcg@{cutoff}"] = gains / ideal[np.minimum(sizes, cutoff)]
    return {name: found[name] for name in METRICS}


def _hits(items: Tensor, offsets: Any, held_out: Any, num_items: int) -> Floats:
    """Which of the ranked items are held out, float64 `[users, k]`."""
    ranked = items.numpy().astype(np.int64)
    users = np.arange(len(ranked))
    known = np.repeat(users, np.diff(offsets)) * num_items + held_out
    hits: Floats = (np.isin(users[:, None] * num_items + ranked, known) & (ranked >= 0)).astype(
        np.float64
    )
    return hits


def compare(first: Floats, second: Floats) -> tuple[float, float]:
    """The p values of the paired t test and of Wilcoxon's signed-rank test.

    Args:
        first: float64 `[n]`, a value for every user.
        second: Likewise, of the same users.

    Returns:
        Two-sided p values; 1 where there is no difference at all, or n is 1.
    """
    from scipy import stats

    difference = second - first
    if len(difference) < 2 or not difference.any():
        return 1.0, 1.0
    # The t statistic of a constant difference is infinite.
    constant = float(np.ptp(difference)) == 0
    t_test = 0.0 if constant else float(stats.ttest_rel(second, first).pvalue)
    return t_test, float(stats.wilcoxon(difference).pvalue)


def comparisons(
    source: Source, cells: Sequence[Cell], finished: Mapping[str, Found]
) -> list[Comparison]:
    """Every alignment of a data set against its backbone, metric by metric."""
    own = [cell for cell in cells if cell.source is source and cell.name in finished]
    rows = []
    for model in dict.fromkeys(cell.settings.model for cell in own):
        runs: dict[str, dict[int, dict[str, Floats]]] = {}
        for cell in own:
            if cell.settings.model == model:
                trained = load(source, finished[cell.name])
                by_seed = runs.setdefault(cell.settings.align, {})
                by_seed[cell.settings.seed] = user_metrics(trained)
        for align in runs:
            seeds = tuple(seed for seed in runs.get("none", {}) if seed in runs[align])
            if align != "none" and seeds:
                rows += _compared((source.name, model, align), seeds, runs["none"], runs[align])
    return rows


def _compared(
    key: tuple[str, str, str],
    seeds: tuple[int, ...],
    backbone: Mapping[int, Mapping[str, Floats]],
    aligned: Mapping[int, Mapping[str, Floats]],
) -> list[Comparison]:
    rows = []
    for metric in METRICS:
        first, second = (
            np.mean([runs[seed][metric] for seed in seeds], axis=0) for runs in (backbone, aligned)
        )
        means = (float(first.mean()), float(second.mean()))
        rows.append(Comparison(*key, metric, seeds, len(first), *means, *compare(first, second)))
    return rows


def overlaps(
    source: Source, cells: Sequence[Cell], finished: Mapping[str, Found], k: int = 100
) -> list[OverlapRow]:
    """The report's Jaccard table of a data set; empty where there are no text vectors."""
    own = [cell for cell in cells if cell.source is source and cell.name in finished]
    if not own or source.dataset.item_vectors is None:
        return []
    k = min(k, source.dataset.num_items - 1)
    return overlap_table((load(source, finished[cell.name]) for cell in own), k)


def load(source: Source, found: Found) -> TrainedRun:
    """A finished run with the data set that is in memory already."""
    return TrainedRun(RunFolder.open(found.path), source.dataset)
