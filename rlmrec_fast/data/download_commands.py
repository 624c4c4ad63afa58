"""What the command `data download` does."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from rlmrec_fast.data.download import ARCHIVE_URL, Order, default_archive
from rlmrec_fast.data.download import download as carry_out


def download(
    name: str,
    out: Path,
    archive: Path | None,
    url: str | None,
    sha256: str | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Downloads a data set and prints what came."""
    order = Order(name, out, archive or default_archive(), url or ARCHIVE_URL, sha256, overwrite)
    console = Console(stderr=True, markup=False, emoji=False, highlight=False, soft_wrap=True)
    columns = BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(name, total=None)
        dataset, got = carry_out(
            order, lambda done, total: bar.update(task, completed=done, total=total)
        )
    if as_json:
        sizes = {
            "users": dataset.num_users,
            "items": dataset.num_items,
            "train": dataset.train.nnz,
            "validation": dataset.validation.nnz,
            "test": dataset.test.nnz,
        }
        facts = {"out": str(out), "archive": str(order.archive), **asdict(got), **sizes}
        print(json.dumps(facts))
    else:
        print(f"{order.archive}: {got.bytes:,} bytes, SHA-256 {got.sha256}")
        print(f"{out}: {dataset!r}")
