"""Making a data set from a CSV of ratings: read, threshold, repeats, k-core, split, matrices.

The goal: ten million interactions in under a minute and within 4 GiB.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import scipy.sparse as sp

from bench.data import Context
from bench.floor import Work
from bench.harness import Case
from rlmrec_fast.data.prepare import Plan, prepare

CORE = 5


def cases(context: Context) -> Iterator[Case]:
    folder = Path(tempfile.mkdtemp(prefix="rlmrec-fast-bench-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    sizes = {
        "one million": (70_000, 12_000, context.pick(1_000_000, 1_000_000, 0)),
        "ten million": (700_000, 120_000, context.pick(10_000_000, 2_000_000, 0)),
    }
    for name, (users, items, rows) in sizes.items():
        shape = context.pick((users, items), (users, items), (60, 40))
        path = folder / f"{name}.csv"
        write_ratings(path, *shape, rows or 900)
        yield preparing(name, path, rows or 900)


def write_ratings(path: Path, users: int, items: int, rows: int) -> None:
    """Ratings 1 to 5 with ids such as Amazon's; few users and items have many of them."""
    rng = np.random.default_rng(0)
    frame = pl.DataFrame(
        {
            "user": (rng.random(rows) ** 2 * users).astype(np.int64),
            "item": (rng.random(rows) ** 3 * items).astype(np.int64),
            "rating": rng.integers(1, 6, rows) * 1.0,
            "timestamp": rng.integers(10**9, 17 * 10**8, rows),
        }
    )
    frame.select(
        pl.format("A{}", pl.col("user").cast(pl.String).str.zfill(13)).alias("user_id"),
        pl.format("B{}", pl.col("item").cast(pl.String).str.zfill(9)).alias("item_id"),
        "rating",
        "timestamp",
    ).write_csv(path)


def preparing(name: str, path: Path, rows: int) -> Case:
    def ours() -> int:
        dataset, _ = prepare(Plan([path], user_core=CORE, item_core=CORE))
        return sum(part.nnz for part in (dataset.train, dataset.validation, dataset.test))

    def with_polars() -> int:
        frame = pl.read_csv(path).filter(pl.col("rating") >= 3).unique(["user_id", "item_id"])
        while True:
            enough = [pl.len().over(side) >= CORE for side in ("user_id", "item_id")]
            kept = frame.filter(*enough)
            if kept.height == frame.height:
                break
            frame = kept
        return sum(part.nnz for part in split(frame))

    return Case(
        "prepare",
        f"a data set from a CSV, {name}",
        {"rows": rows},
        {"rlmrec_fast": lambda: ours, "polars, k-core by repeated counting": lambda: with_polars},
        floor=[(Work(path.stat().st_size + rows * (4 + 4)), 1)],
        difference=lambda mine, theirs: abs(mine - theirs) / mine,
    )


def split(frame: pl.DataFrame) -> list[Any]:
    """Three matrices, each user's interactions shared out 3:1:1 at random."""
    sides = [frame[side].rank("dense").to_numpy() - 1 for side in ("user_id", "item_id")]
    shape = tuple(int(ids.max()) + 1 for ids in sides)
    chance = pl.Series(np.random.default_rng(1).random(frame.height))
    share = (
        pl.DataFrame({"user": sides[0], "chance": chance})
        .select(pl.col("chance").rank("ordinal").over("user") / (pl.len().over("user") + 1))
        .to_series()
        .to_numpy()
    )
    parts = [share < 0.6, (share >= 0.6) & (share < 0.8), share >= 0.8]
    return [
        sp.csr_array(
            (np.ones(part.sum(), np.float32), (sides[0][part], sides[1][part])), shape=shape
        )
        for part in parts
    ]
