"""The report's table 1: the mean neighbour overlap of runs, by backbone and alignment."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from rlmrec_fast import ops
from rlmrec_fast.data.vectors import check_finite, check_vectors

if TYPE_CHECKING:
    from rlmrec_fast.data import Dataset
    from rlmrec_fast.training.inference import TrainedRun

SIDES = ("items", "users")


@dataclass(frozen=True)
class OverlapRow:
    """One backbone's line of the table.

    Attributes:
        model: the backbone.
        overlap: alignment -> mean Jaccard index, itself the mean over the runs with that alignment.
        runs: alignment -> how many runs that was.
    """

    model: str
    overlap: dict[str, float]
    runs: dict[str, int]

    def gain(self, align: str) -> float | None:
        """Relative gain of an alignment over the backbone alone; None where either is missing."""
        base, aligned = self.overlap.get("none"), self.overlap.get(align)
        return None if not base or aligned is None else aligned / base - 1


def text_overlap(embedding: Tensor, text_neighbors: Tensor) -> Tensor:
    """The Jaccard index of each row's neighbours in an embedding with those in the texts.

    Args:
        embedding: `[n, d]`.
        text_neighbors: int64 `[n, k]`, of `ops.neighbors` on the texts' vectors.

    Returns:
        float64 `[n]`.
    """
    k = int(text_neighbors.shape[1])
    return ops.neighbor_overlap(ops.neighbors(embedding, k), text_neighbors)


def overlap_table(
    runs: Iterable[TrainedRun], k: int = 100, side: str = "items"
) -> list[OverlapRow]:
    """The mean overlap with the texts for every backbone and alignment among some runs.

    Args:
        runs: trained on one data set, which must have text vectors for the side. Several of one
            model and alignment, such as with different seeds, are averaged.
        k: neighbours, at least 1.
        side: `items` or `users`.

    Returns:
        One row per backbone, in the order in which they come.

    Raises:
        ValueError: no run, runs of different data, no text vectors, or an argument out of range.
    """
    if side not in SIDES:
        raise ValueError(f"overlap: side must be one of {', '.join(SIDES)} (got {side})")
    found: list[tuple[str, str, float]] = []
    texts: Tensor | None = None
    first: TrainedRun | None = None
    for run in runs:
        if first is None or texts is None:
            first, texts = run, ops.neighbors(_text_vectors(run.dataset, side), k)
        _require_same_data(first, run)
        embedding = run.item_embedding if side == "items" else run.user_embedding
        settings = run.run.config.settings
        value = float(text_overlap(embedding, texts).mean())
        found.append((settings.model, settings.align, value))
    if first is None:
        raise ValueError("overlap: runs must name at least one run (got none)")
    return list(rows_of_table(found))


def rows_of_table(values: Iterable[tuple[str, str, float]]) -> tuple[OverlapRow, ...]:
    """One row per backbone, in the order in which they come.

    Args:
        values: (model, alignment, mean overlap) of every run; those of one model and alignment are
            averaged.
    """
    found: dict[str, dict[str, list[float]]] = {}
    for model, align, value in values:
        found.setdefault(model, {}).setdefault(align, []).append(value)
    return tuple(
        OverlapRow(
            model,
            {align: mean(values) for align, values in by_align.items()},
            {align: len(values) for align, values in by_align.items()},
        )
        for model, by_align in found.items()
    )


def mean_gain(rows: Sequence[OverlapRow], align: str) -> float | None:
    """The mean of the rows' relative gains; None where no row has one."""
    gains = [gain for row in rows if (gain := row.gain(align)) is not None]
    return mean(gains) if gains else None


def _text_vectors(dataset: Dataset, side: str) -> Tensor:
    name = f"{side.removesuffix('s')}_vectors"
    vectors = getattr(dataset, name)
    if vectors is None:
        raise ValueError(f"overlap: {name} must be in the data set (got none in {dataset.name})")
    rows = dataset.train.shape[1 if side == "items" else 0]
    check_vectors(vectors, rows, name)
    check_finite(vectors, name)
    return torch.from_numpy(np.array(vectors, np.float32))


def _require_same_data(first: TrainedRun, run: TrainedRun) -> None:
    own, other = (trained.run.config.data.fingerprint for trained in (first, run))
    differences = [name for name in own.differences(other) if not name.endswith("_vectors")]
    if differences:
        raise ValueError(
            f"overlap: runs must be of one data set (got {run.run.path}, which differs from "
            f"{first.run.path} in: {', '.join(differences)})"
        )
