"""Who gains: measures by popularity of items and by activity of users."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy import sparse, stats

from rlmrec_fast import ops
from rlmrec_fast.analysis.tables import Floats, Ints, Table, as_table
from rlmrec_fast.training.evaluation import sorted_rows


@dataclass(frozen=True, eq=False)
class Groups:
    """Means of a measure in groups of items (or users) of similar degree.

    Attributes:
        names: of the tables, R.
        labels: the training interactions of each group, such as `3-5`; ascending, G.
        sizes: int64 `[G]`.
        mean: float64 `[R, G]`; NaN where a group has nothing to measure.
        low: float64 `[R, G]`, the lower end of the mean's confidence interval.
        high: float64 `[R, G]`, the upper end.
    """

    names: tuple[str, ...]
    labels: tuple[str, ...]
    sizes: Ints
    mean: Floats
    low: Floats
    high: Floats


class Found(NamedTuple):
    """What full ranking finds of the held-out interactions, among the top k.

    Attributes:
        users: float64 `[U]`, Recall@k of every user; NaN without held-out items.
        items: float64 `[I]`, the share of an item's held-out interactions that are found; NaN
            without.
        held_out_of_items: int64 `[I]`, how many those are.
    """

    users: Floats
    items: Floats
    held_out_of_items: Ints


def by_degree(
    values: Mapping[str, Sequence[float] | Floats],
    degrees: Ints,
    *,
    groups: int = 10,
    weights: Ints | None = None,
    confidence: float = 0.95,
) -> Groups:
    """Means of a measure in groups of equal size by degree.

    Things of equal degree stay together, so that groups may differ in size or be fewer; those of
    degree zero, the cold ones, are a group of their own.

    Args:
        values: name -> float `[n]`; NaN counts nowhere.
        degrees: int `[n]`, training interactions.
        groups: how many, at least 1, not counting the cold.
        weights: int `[n]`, how much each thing counts; equally where None.
        confidence: of the intervals, in (0, 1).

    Raises:
        ValueError: no values, lengths that differ, or an argument out of range.
    """
    degrees = np.asarray(degrees)
    if groups < 1:
        raise ValueError(f"by_degree: groups must be at least 1 (got {groups})")
    if not 0 < confidence < 1:
        raise ValueError(f"by_degree: confidence must be in (0, 1) (got {confidence})")
    if not values:
        raise ValueError("by_degree: values must name at least one measure (got none)")
    for name, row in values.items():
        if np.shape(row) != degrees.shape:
            raise ValueError(
                f"by_degree: values[{name!r}] must have shape {degrees.shape} like degrees "
                f"(got {np.shape(row)})"
            )
    table = np.array(list(values.values()), np.float64)
    group, labels = group_by_degree(degrees, groups)
    weight = np.ones(len(degrees)) if weights is None else np.asarray(weights, np.float64)
    reach = float(stats.norm.ppf((1 + confidence) / 2))
    means = np.stack([_weighted_means(row, weight, group, len(labels)) for row in table])
    return Groups(
        names=tuple(values),
        labels=labels,
        sizes=np.bincount(group, minlength=len(labels)),
        mean=means[:, 0],
        low=means[:, 0] - reach * means[:, 1],
        high=means[:, 0] + reach * means[:, 1],
    )


def group_by_degree(degrees: Ints, groups: int = 10) -> tuple[Ints, tuple[str, ...]]:
    """The group of every degree, ascending from 0, and the groups' names; see `by_degree`."""
    degrees = np.asarray(degrees)
    group = np.zeros(len(degrees), np.int64)
    warm = degrees > 0
    # The middle rank among equals decides, so that equals stay together.
    middle = (stats.rankdata(degrees[warm]) - 0.5) / max(1, warm.sum())
    group[warm] = 1 + (middle * groups).astype(np.int64)
    _, group = np.unique(group, return_inverse=True)
    ranges = [
        (int(mine.min()), int(mine.max()))
        for mine in (degrees[group == at] for at in range(group.max(initial=-1) + 1))
    ]
    return group, tuple(f"{low}" if low == high else f"{low}-{high}" for low, high in ranges)


def found_in_top(
    user_embedding: Table, item_embedding: Table, train: Any, held_out: Any, k: int = 20
) -> Found:
    """Recall@k by user and by item, ranked as in `rlmrec_fast.training.evaluation`.

    Args:
        user_embedding: `[U, d]`.
        item_embedding: `[I, d]`.
        train: scipy sparse `U x I`, items that are not ranked.
        held_out: scipy sparse `U x I`, items to find.
        k: how far down the ranking to look, at least 1.

    Raises:
        ValueError: a shape or value is out of range.
    """
    users = as_table("found_in_top", "user_embedding", user_embedding)
    items = as_table("found_in_top", "item_embedding", item_embedding)
    for name, matrix in (("train", train), ("held_out", held_out)):
        if matrix.shape != (len(users), len(items)):
            raise ValueError(
                f"found_in_top: {name} must have shape {(len(users), len(items))} "
                f"(got {matrix.shape})"
            )
    num_users, num_items = train.shape
    offsets, wanted = (rows.numpy() for rows in sorted_rows(held_out))
    asked = np.flatnonzero(np.diff(offsets))
    exclude = sorted_rows(sparse.csr_array(train)[asked])
    top = ops.rank(users[torch.from_numpy(asked)], items, k, exclude)[0].numpy()
    owner = np.repeat(np.arange(num_users), np.diff(offsets))
    shown = (asked[:, None] * num_items + top)[top >= 0]
    found = np.isin(owner * num_items + wanted, shown)
    by_user, by_item = (
        (np.bincount(at[found], minlength=size), np.bincount(at, minlength=size))
        for at, size in ((owner, num_users), (wanted, num_items))
    )
    return Found(_ratio(*by_user), _ratio(*by_item), by_item[1])


def _ratio(hits: Ints, count: Ints) -> Floats:
    ratio: Floats = hits / np.where(count > 0, count, np.nan)
    return ratio


def _weighted_means(values: Floats, weights: Floats, group: Ints, groups: int) -> Floats:
    """The weighted mean of every group and its standard error: [2, groups]."""
    known = np.isfinite(values) & (weights > 0)
    values, weights, group = values[known], weights[known], group[known]

    def total(of: Floats) -> Floats:
        return np.bincount(group, of, groups).astype(np.float64)

    weight = total(weights)
    weight = np.where(weight > 0, weight, np.nan)
    mean = total(weights * values) / weight
    # A ratio of sums: its error is that of the residuals.
    residual = weights * (values - mean[group])
    count = total(np.ones(len(values)))
    correction = count / np.where(count > 1, count - 1, np.nan)
    return np.stack([mean, np.sqrt(total(residual * residual) * correction) / weight])
