"""What there is to recommend, and the original ids of users and items."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rlmrec_fast.data.raw import BadRows, RawTable
from rlmrec_fast.errors import DatasetError

if TYPE_CHECKING:
    import polars

    from rlmrec_fast.training.inference import TrainedRun


@dataclass(frozen=True)
class Ids:
    """Original ids, or numbers where the data set knows none.

    Attributes:
        names: id of every number.
        side: `user` or `item`, for messages.
        source: the data set's name, for messages.
    """

    names: Sequence[str]
    side: str
    source: str

    @classmethod
    def of(cls, table: polars.DataFrame | None, rows: int, side: str, source: str) -> Ids:
        """The ids of a data set's table."""
        names = [str(number) for number in range(rows)] if table is None else table["id"].to_list()
        return cls(names, side, source)

    @cached_property
    def numbers(self) -> dict[str, int]:
        """Number of every id."""
        return {name: number for number, name in enumerate(self.names)}

    def find(self, names: Iterable[str]) -> list[int]:
        """The numbers of ids.

        Raises:
            ValueError: there is no such id; the message shows some that exist.
        """
        found = []
        for name in names:
            number = self.numbers.get(name)
            if number is None:
                examples = ", ".join(repr(known) for known in self.names[:3])
                raise ValueError(
                    f"{self.side} must be an original id of {self.source}, such as {examples}"
                    f" (got {name!r})"
                )
            found.append(number)
        return found


@dataclass(frozen=True)
class Catalog:
    """The items to choose from: those of the data set, then perhaps new ones.

    Attributes:
        embedding: `[n, d']`.
        ids: of every item.
        titles: of every item, None where unknown.
        known: how many of them, the first ones, are the data set's.
    """

    embedding: Tensor
    ids: Ids
    titles: Sequence[str | None]
    known: int

    @classmethod
    def of(cls, run: TrainedRun) -> Catalog:
        """The items of a run's data set."""
        table, rows = run.dataset.items, run.dataset.num_items
        titles = [None] * rows if table is None else table["title"].to_list()
        ids = Ids.of(table, rows, "item", run.dataset.name)
        return cls(run.item_embedding, ids, titles, rows)

    def with_new(
        self, ids: Sequence[str], titles: Sequence[str | None], embedding: Tensor
    ) -> Catalog:
        """Adds items that are not in the data set.

        Args:
            ids: their ids.
            titles: their titles, None where unknown.
            embedding: `[len(ids), d']`.

        Raises:
            ValueError: an id is in the data set, or comes twice.
        """
        seen = set(self.ids.names)
        for name in ids:
            if name in seen:
                raise ValueError(
                    f"new items must have ids of their own (got {name!r}, which there is already)"
                )
            seen.add(name)
        return replace(
            self,
            embedding=torch.cat([self.embedding, embedding.to(self.embedding.dtype)]),
            ids=replace(self.ids, names=[*self.ids.names, *ids]),
            titles=[*self.titles, *titles],
        )

    def replaced(self, items: Sequence[int], embedding: Tensor) -> Catalog:
        """The same items, some at another place; `embedding` is `[len(items), d']`."""
        rows = torch.tensor(items, dtype=torch.int64)
        places = embedding.to(self.embedding.dtype)
        return replace(self, embedding=self.embedding.index_copy(0, rows, places))

    def without(self, items: Iterable[int]) -> Tensor:
        """The embedding with some items made unfit to be ranked."""
        rows = torch.tensor(sorted(set(items)), dtype=torch.int64)
        if not len(rows):
            return self.embedding
        # ops.rank never returns what has no score.
        return self.embedding.index_fill(0, rows, torch.nan)


def read_ids(path: Path, *roles: str) -> list[tuple[str, ...]]:
    """Reads ids from a file: one a line (`.txt`), or the columns `roles` of a table.

    Args:
        path: the file.
        roles: the columns, such as `item`; of a `.txt` file the last one is read.

    Returns:
        A tuple for every row, an empty text for a column that is missing or empty.

    Raises:
        FileNotFoundError: there is no such file.
        DatasetError: it is damaged, or lacks the last column.
    """
    if path.suffix.lower() == ".txt":
        if not path.is_file():
            raise FileNotFoundError(f"{path} must be a file (got nothing there)")
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            raise DatasetError(f"{path}: must be UTF-8 text (got {error})") from error
        return [(*("",) * (len(roles) - 1), line.strip()) for line in lines if line.strip()]
    table = RawTable(path)
    wanted = [_column(table, role) for role in roles]
    if wanted[-1] is None:
        raise DatasetError(
            f"{path}: must have a column {roles[-1]}, or one id a line and end in .txt"
            f" (got {', '.join(table.columns[:20])})"
        )
    bad = BadRows(str(path))
    names = [name for name in wanted if name is not None]
    rows: list[tuple[str, ...]] = []
    for frame in table.batches(names, bad):
        columns = [
            [""] * frame.height
            if name is None
            else frame[name].fill_null("").str.strip_chars().to_list()
            for name in wanted
        ]
        rows += zip(*columns, strict=True)
    if bad.count:
        raise DatasetError(
            f"{path}: every line must be a row (got line {bad.first[0].line}:"
            f" {bad.first[0].reason})"
        )
    return [row for row in rows if row[-1]]


def _column(table: RawTable, role: str) -> str | None:
    names = (role, f"{role}_id", f"{role}id", "id")
    found = {column.lower(): column for column in reversed(table.columns)}
    return next((found[name] for name in names if name in found), None)
