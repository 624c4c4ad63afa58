"""Reads raw interactions: who, what, perhaps how much and when."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from rlmrec_fast.data.columns import INTERACTIONS, Columns, choose_columns
from rlmrec_fast.data.matrices import read_matrix
from rlmrec_fast.data.raw import LINE, BadRow, BadRows, RawTable
from rlmrec_fast.data.unpickle import load_pickle
from rlmrec_fast.errors import DatasetError

OPTION = "--columns"
_MATRICES = (".pkl", ".npz")
_BATCH = 2**20
_DATES = ("%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d")


@dataclass(frozen=True)
class BadLimit:
    """How many rows of a file may be bad: a share of them, or a number.

    Attributes:
        share: of a file's rows, in [0, 1].
        count: a number instead, at least 0; or None.
    """

    share: float = 0.01
    count: int | None = None

    @classmethod
    def parse(cls, text: str) -> BadLimit:
        """Reads `100` or `1%`.

        Raises:
            ValueError: it is neither.
        """
        percent = text.endswith("%")
        try:
            number = float(text[:-1]) / 100 if percent else int(text)
        except ValueError:
            number = -1
        if not 0 <= number <= (1 if percent else 2**62):
            raise ValueError(
                f"--max-bad must be a number of rows, or a share such as 1% (got {text!r})"
            )
        return cls(share=number) if percent else cls(count=int(number))

    def check(self, bad: BadRows, rows: int) -> None:
        """Refuses a file with too many bad rows.

        Args:
            bad: the bad rows.
            rows: all rows of the file, these included.

        Raises:
            DatasetError: there are too many; the first ones are named.
        """
        most = self.share * rows if self.count is None else self.count
        if bad.count > most:
            limit = f"{self.share:.4g} of all rows" if self.count is None else f"{self.count} rows"
            named = "; ".join(f"line {row.line}: {row.reason}" for row in bad.first[:5])
            raise DatasetError(
                f"{bad.file}: at most {limit} may be bad; mend them, or allow more with --max-bad"
                f" (got {bad.count} bad rows of {rows}: {named})"
            )


@dataclass
class Source:
    """What was read from one file.

    Attributes:
        file: its path.
        columns: role -> the columns that held it.
        rows: its rows, bad ones included.
        bad_rows: how many were bad.
        first_bad_rows: the first of them.
    """

    file: str
    columns: dict[str, list[str]] = field(default_factory=dict)
    rows: int = 0
    bad_rows: int = 0
    first_bad_rows: list[BadRow] = field(default_factory=list)

    @classmethod
    def of(cls, table: RawTable, columns: Columns, rows: int, bad: BadRows) -> Source:
        """Describes a table after it was read."""
        named = {role: list(several) for role, several in columns.items()}
        return cls(str(table.path), named, rows + bad.count, bad.count, bad.first)


class Interactions(NamedTuple):
    """Raw interactions of at least the least rating, users and items coded.

    Attributes:
        pairs: `user` and `item`, codes; `time`, seconds, if every file has it.
        user_ids: the original id of every code.
        item_ids: likewise.
        has_times: whether there is a `time`.
        has_ratings: whether a file has ratings.
        below_rating: how many rows were left out for their rating.
        shape: of the matrices that they come from, whose numbers are the ids; None for tables.
        sources: the files.
    """

    pairs: pl.DataFrame
    user_ids: list[str]
    item_ids: list[str]
    has_times: bool
    has_ratings: bool
    below_rating: int
    shape: tuple[int, int] | None
    sources: list[Source]


class _Codes:
    """Gives ids numbers, in no particular order."""

    def __init__(self) -> None:
        self.known: dict[str, int] = {}

    def of(self, ids: pl.Series) -> pl.Series:
        distinct = ids.unique()
        known = self.known
        codes = [known.setdefault(text, len(known)) for text in distinct.to_list()]
        return ids.replace_strict(distinct, pl.Series(codes, dtype=pl.Int32))


def read_interactions(
    paths: Sequence[Path],
    asked: Columns,
    min_rating: float | None,
    limit: BadLimit,
    header: bool = True,
    separator: str | None = None,
) -> Interactions:
    """Reads all of a data set's interactions.

    Args:
        paths: tables, or `.pkl` and `.npz` files with U x I matrices, whose non-zero values are
            interactions and whose rows and columns are the ids.
        asked: which columns hold what; the rest is guessed.
        min_rating: the least rating of an interaction; None for all.
        limit: how many rows of a file may be bad.
        header: see `RawTable`.
        separator: see `RawTable`.

    Raises:
        FileNotFoundError: a file is missing.
        DatasetError: a file is damaged, or has too many bad rows.
        ValueError: a column is missing, or matrices and tables are mixed.
    """
    if not paths:
        raise ValueError("prepare: --interactions must name at least one file (got none)")
    matrices = [path.suffix.lower() in _MATRICES for path in paths]
    if any(matrices):
        if not all(matrices):
            raise ValueError("prepare: interactions must be all matrices or all tables (got both)")
        return _read_matrices(paths)
    tables = [RawTable(path, header, separator) for path in paths]
    chosen = choose_columns(tables, INTERACTIONS, asked, OPTION)
    has_times = all("time" in columns for columns in chosen)
    users, items, frames, sources, below = _Codes(), _Codes(), [], [], 0
    for table, columns in zip(tables, chosen, strict=True):
        rows, bad = 0, BadRows(str(table.path))
        for frame in _checked(table, columns, bad):
            rows += frame.height
            parts = [users.of(frame["user"]).alias("user"), items.of(frame["item"]).alias("item")]
            if has_times:
                parts.append(frame["time"])
            pairs = pl.DataFrame(parts)
            if min_rating is not None and "rating" in columns:
                pairs = pairs.filter(frame["rating"] >= min_rating)
                below += frame.height - pairs.height
            frames.append(pairs)
        limit.check(bad, rows + bad.count)
        sources.append(Source.of(table, columns, rows, bad))
    if not users.known:
        raise DatasetError(f"{paths[0]}: must hold interactions (got no rows)")
    return Interactions(
        pl.concat(frames),
        list(users.known),
        list(items.known),
        has_times,
        any("rating" in columns for columns in chosen),
        below,
        None,
        sources,
    )


def _read_matrices(paths: Sequence[Path]) -> Interactions:
    rows, columns, sources, shape = [], [], [], None
    for path in paths:
        if not path.is_file():
            raise FileNotFoundError(f"prepare: {path} must be a file (got nothing there)")
        matrix: Any = load_pickle(path) if path.suffix.lower() == ".pkl" else read_matrix(path)
        if not hasattr(matrix, "tocoo"):
            raise DatasetError(
                f"{path}: must hold a scipy sparse matrix (got {type(matrix).__name__})"
            )
        shape = shape or matrix.shape
        if matrix.shape != shape:
            raise DatasetError(
                f"{path}: must have the shape of {paths[0]}, {shape} (got {matrix.shape})"
            )
        entries = matrix.tocoo()
        kept = entries.data != 0
        rows.append(entries.row[kept])
        columns.append(entries.col[kept])
        sources.append(Source(str(path), rows=int(kept.sum())))
    users, user_ids = _numbers(np.concatenate(rows))
    items, item_ids = _numbers(np.concatenate(columns))
    if not user_ids:
        raise DatasetError(f"{paths[0]}: must hold interactions (got none)")
    pairs = pl.DataFrame({"user": users, "item": items})
    return Interactions(pairs, user_ids, item_ids, False, False, 0, shape, sources)


def _numbers(values: Any) -> tuple[pl.Series, list[str]]:
    distinct, codes = np.unique(values, return_inverse=True)
    return pl.Series(codes.reshape(-1), dtype=pl.Int32), [str(number) for number in distinct]


def _checked(table: RawTable, columns: Columns, bad: BadRows) -> Iterator[pl.DataFrame]:
    """Batches with `user` and `item`, text, and `rating` and `time`, numbers, where they exist."""
    names = {role: several[0] for role, several in columns.items()}
    for raw in table.batches(list(dict.fromkeys(names.values())), bad):
        for part in raw.iter_slices(_BATCH):
            yield _checked_rows(part, names, bad)


def _checked_rows(raw: pl.DataFrame, names: dict[str, str], bad: BadRows) -> pl.DataFrame:
    texts = raw.select(
        LINE, *(pl.col(name).str.strip_chars().alias(role) for role, name in names.items())
    )
    values = {role: texts[role] for role in ("user", "item")}
    faults = {
        role: (column.is_null() | (column == "").fill_null(True), "must not be empty")
        for role, column in values.items()
    }
    if "rating" in names:
        values["rating"] = texts["rating"].cast(pl.Float64, strict=False)
        faults["rating"] = ~values["rating"].is_finite().fill_null(False), "must be a number"
    if "time" in names:
        values["time"] = _seconds(texts["time"])
        wrong = ~values["time"].is_finite().fill_null(False)
        faults["time"] = wrong, "must be a number or a date such as 2024-05-31T12:30:00"
    frame = pl.DataFrame([column.alias(role) for role, column in values.items()])
    faulty = pl.Series("faulty", [False]).new_from_index(0, raw.height)
    for role, (where, demand) in faults.items():
        fresh = where & ~faulty
        if fresh.any():
            got = texts[role].filter(fresh).to_list()
            reasons = [f"{names[role]} {demand} (got {text!r:.60})" for text in got[: bad.kept]]
            bad.add_many(texts[LINE].filter(fresh).to_list(), reasons.__getitem__)
            faulty = faulty | where
    return frame.filter(~faulty) if faulty.any() else frame


def _seconds(texts: pl.Series) -> pl.Series:
    """Numbers as they are, dates as seconds since 1970; null for anything else."""
    numbers = texts.cast(pl.Float64, strict=False)
    if not numbers.null_count():
        return numbers
    plain = texts.str.strip_suffix("Z").str.replace(r"[+-]\d\d:?\d\d$", "")
    found = numbers
    for form in _DATES:
        dates = plain.str.to_datetime(form, time_unit="us", strict=False)
        found = found.fill_null(dates.dt.epoch("us") / 1e6)
    return found
