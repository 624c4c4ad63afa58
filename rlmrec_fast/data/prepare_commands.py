"""What the command `data prepare` does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from rlmrec_fast.data.columns import INTERACTIONS, ITEMS, USERS, parse_columns
from rlmrec_fast.data.dataset import Dataset
from rlmrec_fast.data.folder import check_place, write_folder
from rlmrec_fast.data.interactions import BadLimit, Source
from rlmrec_fast.data.prepare import REPORT, Plan, Report
from rlmrec_fast.data.prepare import prepare as carry_out
from rlmrec_fast.data.splits import Split


@dataclass(frozen=True)
class PrepareRequest:
    """What `data prepare` was asked for; texts as on the command line, see `Plan`."""

    out: Path
    interactions: Sequence[Path]
    items: Sequence[Path]
    users: Sequence[Path]
    item_vectors: Path | None
    user_vectors: Path | None
    columns: Sequence[str]
    item_columns: Sequence[str]
    user_columns: Sequence[str]
    header: bool
    separator: str | None
    min_rating: float | None
    cores: tuple[int, int]
    drop_unknown: bool
    split: tuple[str, str, int]
    max_bad: str
    name: str | None
    overwrite: bool

    def plan(self) -> Plan:
        """The plan.

        Raises:
            ValueError: an option is wrong.
        """
        separator = "\t" if self.separator == "\\t" else self.separator
        if separator is not None and (len(separator) != 1 or separator in '"\r\n'):
            raise ValueError(f"--separator must be one character (got {self.separator!r})")
        method, ratios, seed = self.split
        return Plan(
            interactions=self.interactions,
            items=self.items,
            users=self.users,
            item_vectors=self.item_vectors,
            user_vectors=self.user_vectors,
            columns=parse_columns(self.columns, INTERACTIONS, "--columns"),
            item_columns=parse_columns(self.item_columns, ITEMS, "--item-columns"),
            user_columns=parse_columns(self.user_columns, USERS, "--user-columns"),
            header=self.header,
            separator=separator,
            min_rating=self.min_rating,
            user_core=self.cores[0],
            item_core=self.cores[1],
            drop_unknown=self.drop_unknown,
            split=Split(method, _ratios(ratios), seed),
            max_bad=BadLimit.parse(self.max_bad),
            name=self.name or self.out.resolve().name or "prepared",
        )


def prepare(request: PrepareRequest, as_json: bool) -> None:
    """Prepares a data set, writes it and prints the report."""
    plan = request.plan()
    check_place(request.out, request.overwrite)
    dataset, report = carry_out(plan)
    write_folder(dataset, request.out, request.overwrite, {REPORT: report.to_json()})
    if as_json:
        print(json.dumps({"out": str(request.out), **report.as_dict()}, ensure_ascii=False))
    else:
        _print(request.out, dataset, report)


def _ratios(text: str) -> tuple[float, float, float]:
    try:
        training, validation, test = (float(part) for part in text.split(":"))
    except ValueError:
        raise ValueError(f"--ratios must be three numbers such as 3:1:1 (got {text!r})") from None
    return training, validation, test


def _print(out: Path, dataset: Dataset, report: Report) -> None:
    console = Console(markup=False, emoji=False, highlight=False, soft_wrap=True)
    for source in report.sources:
        console.print(_describe(source))
        for row in source.first_bad_rows[:5]:
            console.print(f"  line {row.line}: {row.reason}")
        if source.bad_rows > 5:
            console.print(f"  and {source.bad_rows - 5:,} more; the first are in {out / REPORT}")
    table = Table("step", "removed", "interactions", "users", "items")
    for column in table.columns[1:]:
        column.justify = "right"
    for step in report.steps:
        left = step.removed, step.interactions, step.users, step.items
        table.add_row(step.name, *(f"{count:,}" for count in left))
    console.print(table)
    for side, counts in report.texts.items():
        known = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items())
        console.print(f"{side}: {known}")
    console.print(f"{out}: {dataset!r}")


def _describe(source: Source) -> str:
    columns = ", ".join(f"{role} = {' + '.join(held)}" for role, held in source.columns.items())
    bad = f", {source.bad_rows:,} bad" if source.bad_rows else ""
    return f"{source.file}: {source.rows:,} rows{bad}{f'; {columns}' if columns else ''}"
