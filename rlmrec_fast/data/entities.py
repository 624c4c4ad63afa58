"""Reads raw tables of users or items: original ids, titles, profiles, descriptions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rlmrec_fast.data.columns import Columns, Role, choose_columns
from rlmrec_fast.data.interactions import BadLimit, Source
from rlmrec_fast.data.raw import LINE, BadRows, RawTable
from rlmrec_fast.data.rlmrec import read_any_vectors
from rlmrec_fast.data.tables import make_table
from rlmrec_fast.data.vectors import Vectors
from rlmrec_fast.errors import DatasetError

TEXTS = ("title", "profile", "description")


@dataclass(frozen=True)
class Asked:
    """How the tables of one side are to be read.

    Attributes:
        side: `user` or `item`.
        paths: the tables; the first that knows a text wins.
        roles: what their columns may hold.
        columns: which do; the rest is guessed.
        limit: how many rows of a file may be bad.
        header: see `RawTable`.
        separator: see `RawTable`.
    """

    side: str
    paths: Sequence[Path]
    roles: Mapping[str, Role]
    columns: Columns
    limit: BadLimit
    header: bool = True
    separator: str | None = None


@dataclass
class Entities:
    """The users or the items among the interactions, and what their tables say of them.

    Attributes:
        ids: the original id of every code.
        numbers: the row of its vector for every code; -1 where there is none.
        rows: how many rows a table of vectors has; None where no table counts them.
        texts: id -> title, profile and description, for those with a row.
        sources: the files.
    """

    ids: list[str]
    numbers: NDArray[np.int64]
    rows: int | None
    texts: dict[str, list[str | None]] = field(default_factory=dict)
    sources: list[Source] = field(default_factory=list)

    def known(self) -> NDArray[np.bool_]:
        """Which codes have a row in a table."""
        return np.fromiter((id_ in self.texts for id_ in self.ids), np.bool_, len(self.ids))

    def table(self, codes: NDArray[np.int64]) -> pl.DataFrame:
        """The table of a data set; row n for code n of `codes`."""
        ids = [self.ids[code] for code in codes.tolist()]
        nothing: list[str | None] = [None] * len(TEXTS)
        rows = [self.texts.get(id_, nothing) for id_ in ids]
        titles, profiles, descriptions = ([row[n] for row in rows] for n in range(len(TEXTS)))
        return make_table(ids, titles, profiles, descriptions)


def read_entities(asked: Asked, ids: Sequence[str], matrix_side: int | None) -> Entities:
    """Reads what is known of the users or items among the interactions.

    Args:
        asked: which tables, and how.
        ids: the ids among the interactions, by code.
        matrix_side: how many users or items the interactions' matrices have, where the ids are
            their rows' or columns' numbers: a table with a column `number` then tells the original
            ids. None for interactions from tables.

    Raises:
        FileNotFoundError: a file is missing.
        DatasetError: a file is damaged, has too many bad rows, or gives two numbers one id.
        ValueError: a column is missing.
    """
    option = f"--{asked.side}-columns"
    tables = [RawTable(path, asked.header, asked.separator) for path in asked.paths]
    chosen = choose_columns(tables, asked.roles, asked.columns, option)
    if matrix_side is None:
        found = Entities(list(ids), np.full(len(ids), -1), None)
    else:
        names = _original_ids(tables, chosen)
        own = [names.get(number, f"#{number}") for number in ids] if names else list(ids)
        found = Entities(own, np.array(ids, np.int64), matrix_side)
    wanted = {id_: code for code, id_ in enumerate(found.ids)}
    for place, (table, columns) in enumerate(zip(tables, chosen, strict=True)):
        rows, bad = 0, BadRows(str(table.path))
        for frame in entity_rows(table, columns, bad):
            for id_, *texts in frame.iter_rows():
                if id_ in wanted:
                    _add(found.texts, id_, texts)
                    if place == 0 and matrix_side is None and found.numbers[wanted[id_]] < 0:
                        found.numbers[wanted[id_]] = rows
                rows += 1
        asked.limit.check(bad, rows + bad.count)
        if place == 0 and matrix_side is None:
            found.rows = None if bad.count else rows
        found.sources.append(Source.of(table, columns, rows, bad))
    return found


def _original_ids(tables: Sequence[RawTable], chosen: Sequence[Columns]) -> dict[str, str]:
    """Number -> original id, from every table that has both."""
    names: dict[str, str] = {}
    for table, columns in zip(tables, chosen, strict=True):
        if "number" not in columns:
            continue
        (number,), (id_,) = columns["number"], columns["id"]
        for frame in table.batches([number, id_], BadRows("")):
            for key, name in frame.select(number, id_).iter_rows():
                if key and name:
                    names.setdefault(key.strip(), name.strip())
    numbers: dict[str, str] = {}
    for number, name in names.items():
        if numbers.setdefault(name, number) != number:
            raise DatasetError(
                f"{tables[0].path}: every number must have an id of its own"
                f" (got {name!r} for {numbers[name]} and {number})"
            )
    return names


def entity_rows(table: RawTable, columns: Columns, bad: BadRows) -> Iterator[pl.DataFrame]:
    """Batches with `id`, `title`, `profile` and `description`; rows without an id are bad."""
    needed = [column for role, several in columns.items() if role != "number" for column in several]
    (id_column,) = columns["id"]
    for raw in table.batches(list(dict.fromkeys(needed)), bad):
        ids = raw[id_column].str.strip_chars()
        missing = ids.is_null() | (ids == "").fill_null(True)
        lines = raw[LINE].filter(missing).to_list()
        bad.add_many(lines, lambda _: f"{id_column} must not be empty")
        texts = [_text(columns.get(role, ())).alias(role) for role in TEXTS]
        yield raw.select(pl.col(id_column).str.strip_chars().alias("id"), *texts).filter(~missing)


def _text(columns: Sequence[str]) -> pl.Expr:
    """One column's text, or several columns' as labelled lines; null where it is blank."""
    if not columns:
        return pl.lit(None, pl.String)
    parts = [pl.col(column).str.strip_chars().replace("", None) for column in columns]
    if len(parts) == 1:
        return parts[0]
    labels = [column.replace("{", "(").replace("}", ")") for column in columns]
    labelled = [
        pl.format(f"{label}: {{}}", part) for label, part in zip(labels, parts, strict=True)
    ]
    return pl.concat_str(labelled, separator="\n", ignore_nulls=True).replace("", None)


def _add(known: dict[str, list[str | None]], id_: str, texts: Sequence[str | None]) -> None:
    row = known.setdefault(id_, [None] * len(TEXTS))
    for place, text in enumerate(texts):
        row[place] = row[place] or text


def select_vectors(path: Path, side: str, entities: Entities, codes: NDArray[np.int64]) -> Vectors:
    """The vectors of a data set's users or items.

    Args:
        path: `.npy` file, or `.pkl` as RLMRec has it.
        side: `user` or `item`.
        entities: the side's.
        codes: of the users or items that are left, in order.

    Raises:
        DatasetError: the file is damaged or has another number of rows, or one has no vector.
    """
    vectors = read_any_vectors(path)
    if entities.rows is None:
        raise DatasetError(
            f"{path}: --{side}-vectors needs --{side}s with a table that numbers its rows, none of"
            " them bad (got none)"
        )
    if vectors.ndim != 2 or len(vectors) != entities.rows:
        raise DatasetError(
            f"{path}: must have {entities.rows} rows, as many as there are {side}s"
            f" (got shape {vectors.shape})"
        )
    rows = entities.numbers[codes]
    if (rows < 0).any():
        missing = entities.ids[int(codes[int((rows < 0).argmax())])]
        raise DatasetError(
            f"{path}: every {side} left must have a vector (got none for {missing!r})"
        )
    return np.ascontiguousarray(vectors[rows])
