"""From raw tables of interactions and items to a data set, with a report of what each step removed.

Steps, in this order: rows that are no rows are left out; ratings below a threshold; repeated
interactions, of which the earliest stays; items without a row in the items' table, on request; the
k-core, in which every user and every item has enough; the split, user by user.

Users and items are numbered in the order of their original ids, as integers where all of them are.
Neither the order of the rows nor threads change the result.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import scipy.sparse as sp
from numpy.typing import NDArray

from rlmrec_fast.data.columns import ITEMS, USERS, Columns
from rlmrec_fast.data.dataset import Dataset
from rlmrec_fast.data.entities import TEXTS, Asked, Entities, read_entities, select_vectors
from rlmrec_fast.data.interactions import BadLimit, Interactions, Source, read_interactions
from rlmrec_fast.data.matrices import SPLITS
from rlmrec_fast.data.splits import Split
from rlmrec_fast.errors import DatasetError
from rlmrec_fast.graph import k_core

SIDES = ("user", "item")
Codes = NDArray[np.int64]
REPORT = "prepare.json"
"""The report's file in the folder of a prepared data set."""


@dataclass(frozen=True)
class Plan:
    """What to prepare, and how.

    Attributes:
        interactions: tables, or RLMRec's matrices; their interactions are joined.
        items: tables of the items; the first that knows a text wins. May be none.
        users: tables of the users, likewise.
        item_vectors: `.npy` file, row n for the item of number n where interactions are matrices,
            else for row n of the first items' table; or None.
        user_vectors: likewise.
        columns, item_columns, user_columns: which column holds what; the rest is guessed.
        header: whether text tables start with the columns' names.
        separator: between the fields of text tables; None to look at the first line.
        min_rating: ratings below it are no interactions; None to keep every rating.
        user_core: distinct items that each user must have.
        item_core: distinct users that each item must have.
        drop_unknown: whether items without a row in the items' tables are left out.
        split: how to split.
        max_bad: how many rows of a file may be bad.
        name: the data set's name.
    """

    interactions: Sequence[Path]
    items: Sequence[Path] = ()
    users: Sequence[Path] = ()
    item_vectors: Path | None = None
    user_vectors: Path | None = None
    columns: Columns = field(default_factory=dict)
    item_columns: Columns = field(default_factory=dict)
    user_columns: Columns = field(default_factory=dict)
    header: bool = True
    separator: str | None = None
    min_rating: float | None = 3.0
    user_core: int = 5
    item_core: int = 5
    drop_unknown: bool = False
    split: Split = field(default_factory=Split)
    max_bad: BadLimit = field(default_factory=BadLimit)
    name: str = "prepared"

    def __post_init__(self) -> None:
        for name in ("user_core", "item_core"):
            if getattr(self, name) < 1:
                raise ValueError(f"prepare: {name} must be at least 1 (got {getattr(self, name)})")
        if self.drop_unknown and not self.items:
            raise ValueError("prepare: drop_unknown must come with a table of items (got none)")

    def source(self, has_ratings: bool) -> str:
        """What the data set's manifest says of where it came from."""
        files = ", ".join(path.name for path in self.interactions)
        low = has_ratings and self.min_rating is not None
        rating = f"ratings >= {self.min_rating:g}, " if low else ""
        return (
            f"prepared from {files}: {rating}{self.user_core}-core of users, "
            f"{self.item_core}-core of items, split {self.split}"
        )


@dataclass
class Step:
    """What a step left.

    Attributes:
        name: what it did.
        removed: interactions that it removed.
        interactions, users, items: what is left.
    """

    name: str
    removed: int
    interactions: int
    users: int
    items: int


@dataclass
class Report:
    """What happened while a data set was prepared.

    Attributes:
        sources: every file that was read, its columns, rows and bad rows.
        steps: what each step removed.
        splits: interactions of each part.
        texts: users and items with a row in their tables, a title, a profile, a description.
    """

    sources: list[Source] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    splits: dict[str, int] = field(default_factory=dict)
    texts: dict[str, dict[str, int]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers and texts, ready for JSON."""
        return asdict(self)

    def to_json(self) -> str:
        """The content of `prepare.json`."""
        return json.dumps(self.as_dict(), indent=2, ensure_ascii=False) + "\n"

    def add_step(self, name: str, before: int, pairs: pl.DataFrame) -> None:
        """Counts what is left after a step."""
        users, items = (pairs[side].n_unique() for side in ("user", "item"))
        self.steps.append(Step(name, before - pairs.height, pairs.height, users, items))


def prepare(plan: Plan) -> tuple[Dataset, Report]:
    """Reads, filters and splits.

    Args:
        plan: what, and how.

    Returns:
        The data set, not yet saved, and the report.

    Raises:
        FileNotFoundError: a file is missing.
        DatasetError: a file is damaged, has too many bad rows, or nothing is left.
        ValueError: columns are missing, or the plan asks for what the files do not have.
    """
    read = read_interactions(
        plan.interactions, plan.columns, plan.min_rating, plan.max_bad, plan.header, plan.separator
    )
    if plan.split.method == "time":
        plan.split.require_times(read.has_times)
    entities = {side: _entities(plan, side, read) for side in SIDES}
    report = Report([*read.sources, *(file for side in SIDES for file in entities[side].sources)])
    pairs = _filtered(read, entities["item"], plan, report)
    kept = {side: _in_order(pairs[side], entities[side].ids) for side in SIDES}
    pairs = pairs.with_columns(_numbers(pairs[side], kept[side]) for side in SIDES)
    shape = len(kept["user"]), len(kept["item"])
    parts: dict[str, Any] = {}
    labels = plan.split.labels(pairs, shape)
    for place, name in enumerate(SPLITS):
        part = pairs.filter(pl.Series(labels == place))
        report.splits[name] = part.height
        ids = part["user"].to_numpy(), part["item"].to_numpy()
        parts[name] = sp.csr_array((np.ones(part.height, np.float32), ids), shape=shape)
    for side in SIDES:
        _add_texts(parts, plan, side, entities[side], kept[side], report)
    return Dataset(name=plan.name, source=plan.source(read.has_ratings), **parts), report


def _entities(plan: Plan, side: str, read: Interactions) -> Entities:
    asked = Asked(
        side,
        getattr(plan, f"{side}s"),
        {"user": USERS, "item": ITEMS}[side],
        getattr(plan, f"{side}_columns"),
        plan.max_bad,
        plan.header,
        plan.separator,
    )
    matrix_side = None if read.shape is None else read.shape[SIDES.index(side)]
    return read_entities(asked, getattr(read, f"{side}_ids"), matrix_side)


def _filtered(read: Interactions, items: Entities, plan: Plan, report: Report) -> pl.DataFrame:
    """The distinct pairs of codes that are left, each with its earliest time."""
    pairs = read.pairs
    rows = pairs.height + read.below_rating
    sizes = len(read.user_ids), len(read.item_ids)
    report.steps.append(Step("read", 0, rows, *sizes))
    if plan.min_rating is not None and read.has_ratings:
        report.add_step(f"ratings below {plan.min_rating:g}", rows, pairs)
    before = pairs.height
    times = ["time"] if read.has_times else []
    pairs = pairs.sort(["user", "item", *times])
    pairs = pairs.unique(["user", "item"], keep="first", maintain_order=True)
    report.add_step("repeated", before, pairs)
    known = items.known()
    if plan.drop_unknown:
        before = pairs.height
        pairs = pairs.filter(pl.Series(known[pairs["item"].to_numpy()]))
        report.add_step("items without a row in their tables", before, pairs)
    before = pairs.height
    if before:
        ids = pairs["user"].to_numpy(), pairs["item"].to_numpy()
        pairs = pairs.filter(pl.Series(k_core(*ids, *sizes, plan.user_core, plan.item_core)))
    report.add_step(f"k-core of {plan.user_core} and {plan.item_core}", before, pairs)
    if pairs.is_empty():
        steps = "; ".join(f"{step.name}: {step.interactions:,} left" for step in report.steps)
        raise DatasetError(
            "prepare: some interactions must be left; lower --user-core and --item-core, or"
            f" --min-rating (got none: {steps})"
        )
    return pairs


def _in_order(codes: pl.Series, ids: Sequence[str]) -> Codes:
    """The codes that are left, in the order of their ids."""
    left = np.unique(codes.to_numpy())
    names = [ids[code] for code in left.tolist()]
    numeric = all(name.isascii() and name.isdecimal() and len(name) < 19 for name in names)
    # Leading zeros make two ids of one integer: the text decides between them.
    keys = [(int(name) if numeric else 0, name) for name in names]
    order = sorted(range(len(left)), key=keys.__getitem__)
    return left[order].astype(np.int64)


def _numbers(codes: pl.Series, kept: Codes) -> pl.Series:
    """The place of each code among those that are left."""
    places = np.empty(int(kept.max()) + 1, np.int32)
    places[kept] = np.arange(len(kept))
    return pl.Series(codes.name, places[codes.to_numpy()])


def _add_texts(
    parts: dict[str, Any], plan: Plan, side: str, entities: Entities, kept: Codes, report: Report
) -> None:
    table = parts[f"{side}s"] = entities.table(kept)
    report.texts[f"{side}s"] = {
        "in_tables": int(entities.known()[kept].sum()),
        **{column: table.height - table[column].null_count() for column in TEXTS},
    }
    path = getattr(plan, f"{side}_vectors")
    if path is not None:
        parts[f"{side}_vectors"] = select_vectors(path, side, entities, kept)
