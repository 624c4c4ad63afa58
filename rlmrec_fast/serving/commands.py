"""What the commands `recommend`, `similar` and `export` do."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from rlmrec_fast.serving import bulk
from rlmrec_fast.serving.bulk import Block, Exclusions, as_records, rank_blocks, require_form
from rlmrec_fast.serving.catalog import Catalog, Ids, read_ids
from rlmrec_fast.serving.cold import NewItems
from rlmrec_fast.serving.export import check_place, export_tables
from rlmrec_fast.serving.similarity import SPACES, similar, text_table
from rlmrec_fast.training.inference import TrainedRun

MANY = 20
"""So many users or items are still printed as tables."""


@dataclass(frozen=True)
class Wanted:
    """Whom or what a command is about; by original id where there are any.

    Attributes:
        names: given one by one.
        file: a file with more of them; or None.
        all: whether it is about all.
    """

    names: Sequence[str] = ()
    file: Path | None = None
    all: bool = False

    def numbers(self, ids: Ids, role: str) -> list[int]:
        """Their numbers.

        Raises:
            ValueError: an id is unknown, or nothing or all and something are asked for.
        """
        some = bool(self.names) or self.file is not None
        if self.all == some:
            raise ValueError(
                f"one of --{role}, --{role}s-from and --all must say which {role}s"
                f" (got {'both' if some else 'none'})"
            )
        if self.all:
            return list(range(len(ids.names)))
        listed = [] if self.file is None else [row[0] for row in read_ids(self.file, role)]
        return ids.find([*self.names, *listed])


@dataclass(frozen=True)
class RecommendRequest:
    """What `recommend` was asked for.

    Attributes:
        run: the run folder.
        data: the data set's folder, if it is not where it was in training.
        users: for whom.
        k: how many items.
        out: a file to write; None to print.
        exclude: files of items that nobody gets, or of pairs of users and items.
        new: items to place among the data set's.
        with_seen: whether training interactions may be recommended.
        without_held_out: whether validation and test interactions are left out, too.
        as_json: whether to print JSON.
    """

    run: Path
    data: Path | None
    users: Wanted
    k: int
    out: Path | None = None
    exclude: Sequence[Path] = ()
    new: NewItems = field(default_factory=NewItems)
    with_seen: bool = False
    without_held_out: bool = False
    as_json: bool = False


def recommend(request: RecommendRequest) -> None:
    """Prints or writes the best new items for users."""
    if request.out is not None:
        require_form(request.out)
    run = TrainedRun.load(request.run, request.data)
    catalog = request.new.catalog(run)
    ids = Ids.of(run.dataset.users, run.dataset.num_users, "user", run.dataset.name)
    users = request.users.numbers(ids, "user")
    exclusions = read_exclusions(
        request.exclude, ids, catalog.ids, not request.with_seen, request.without_held_out
    )
    blocks = rank_blocks(run, catalog, users, request.k, exclusions)
    if request.out is not None:
        count = bulk.write(request.out, blocks, ids, catalog)
        _print_written(request.out, "users", len(users), count, request.as_json)
    else:
        title = f"{run.dataset.name}: recommended to user"
        _print(blocks, ids, catalog, ("user", title), request.as_json or len(users) > MANY)


def read_exclusions(
    paths: Iterable[Path], users: Ids, items: Ids, seen: bool = True, held_out: bool = False
) -> Exclusions:
    """Reads files of items, or of pairs of a user and an item, that are not recommended.

    Ids that the data set does not know are counted on stderr and passed over: a shop's list is
    longer than a data set's.

    Raises:
        FileNotFoundError: a file is missing.
        DatasetError: a file is damaged.
    """
    everywhere: set[int] = set()
    pairs: dict[int, set[int]] = {}
    for path in paths:
        rows = read_ids(path, "user", "item")
        unknown = 0
        for user, item in rows:
            if item not in items.numbers or (user and user not in users.numbers):
                unknown += 1
            elif user:
                pairs.setdefault(users.numbers[user], set()).add(items.numbers[item])
            else:
                everywhere.add(items.numbers[item])
        if unknown:
            print(
                f"{path}: {unknown} of {len(rows)} rows are about ids that are not among the"
                " recommended",
                file=sys.stderr,
            )
    return Exclusions(frozenset(everywhere), pairs, seen, held_out)


@dataclass(frozen=True)
class SimilarRequest:
    """What `similar` was asked for.

    Attributes:
        run: the run folder.
        data: the data set's folder, if it is not where it was in training.
        items: to which.
        k: how many items.
        space: `embedding` or `text`.
        new: items to place among the data set's.
        out: a file to write; None to print.
        as_json: whether to print JSON.
    """

    run: Path
    data: Path | None
    items: Wanted
    k: int
    space: str = "embedding"
    new: NewItems = field(default_factory=NewItems)
    out: Path | None = None
    as_json: bool = False


def more_like(request: SimilarRequest) -> None:
    """Prints or writes the items most similar to items."""
    if request.space not in SPACES:
        raise ValueError(f"--space must be one of {', '.join(SPACES)} (got {request.space!r})")
    if request.out is not None:
        require_form(request.out)
    run = TrainedRun.load(request.run, request.data)
    if request.space == "text" and request.new.items is not None:
        raise ValueError("--space text compares the data set's own items (got --new-items)")
    catalog = request.new.catalog(run)
    items = request.items.numbers(catalog.ids, "item")
    if request.space == "embedding":
        table = catalog.embedding
    elif run.dataset.item_vectors is None:
        raise ValueError(
            f"similar: {run.dataset.name} must have item_vectors to compare texts (got none);"
            " `rlmrec-fast encode` makes them"
        )
    else:
        table = text_table(run.dataset.item_vectors)
    blocks = similar(table, items, request.k)
    if request.out is not None:
        count = bulk.write(request.out, blocks, catalog.ids, catalog, "to")
        _print_written(request.out, "items", len(items), count, request.as_json)
    else:
        title = f"{run.dataset.name}: most similar to item"
        _print(blocks, catalog.ids, catalog, ("to", title), request.as_json or len(items) > MANY)


@dataclass(frozen=True)
class ExportRequest:
    """What `export` was asked for.

    Attributes:
        run: the run folder.
        out: the folder to write.
        data: the data set's folder, if it is not where it was in training.
        ids: form of the lists of ids.
        new: items to place among the data set's.
        overwrite: whether to replace an export.
        as_json: whether to print JSON.
    """

    run: Path
    out: Path
    data: Path | None
    ids: str = "json"
    new: NewItems = field(default_factory=NewItems)
    overwrite: bool = False
    as_json: bool = False


def export(request: ExportRequest) -> None:
    """Writes the final tables of a run for other programs."""
    out = request.out
    check_place(out, request.overwrite)
    run = TrainedRun.load(request.run, request.data)
    catalog = request.new.catalog(run)
    record = export_tables(run, out, catalog, request.ids, request.overwrite)
    if request.as_json:
        print(json.dumps({"out": str(out), **record}))
    else:
        print(
            f"{out}: {record['users']:,} users, {record['items']:,} items, {record['dim']} wide;"
            f" {record['model']}, {record['align']} alignment, epoch {record['epoch']}"
        )


def _print(
    blocks: Iterable[Block], ids: Ids, catalog: Catalog, words: tuple[str, str], as_json: bool
) -> None:
    """One JSON object a line, or a table each."""
    key, title = words
    console = Console(markup=False, emoji=False, highlight=False)
    for block in blocks:
        for number, records in zip(block.users, as_records(block, catalog), strict=True):
            name = ids.names[number]
            if as_json:
                print(json.dumps({key: name, "items": records}))
            else:
                console.print(_table(f"{title} {name}", records))


def _table(title: str, records: Sequence[dict[str, Any]]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("rank", justify="right")
    table.add_column("item")
    table.add_column("title")
    table.add_column("score", justify="right")
    for rank, record in enumerate(records, start=1):
        table.add_row(str(rank), record["id"], record["title"] or "", f"{record['score']:.4f}")
    return table


def _print_written(out: Path, what: str, number: int, count: int, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"out": str(out), what: number, "rows": count}))
    else:
        print(f"{out}: {count:,} items for {number:,} {what}")
