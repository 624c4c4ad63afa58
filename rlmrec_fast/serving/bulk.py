"""Recommendations for many users, block by block, and the files that hold them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import scipy.sparse as sp

from rlmrec_fast import ops
from rlmrec_fast.serving.catalog import Catalog, Ids
from rlmrec_fast.training.evaluation import sorted_rows
from rlmrec_fast.training.files import writing_aside
from rlmrec_fast.training.inference import TrainedRun

BLOCK = 4096
"""Users that are ranked for at once."""

FORMS = (".jsonl", ".parquet")


@dataclass(frozen=True)
class Exclusions:
    """What is not recommended.

    Attributes:
        items: to nobody.
        pairs: user -> items not recommended to that user.
        seen: whether users' own training interactions are left out.
        held_out: whether their validation and test interactions are left out, too.
    """

    items: frozenset[int] = frozenset()
    pairs: dict[int, set[int]] = field(default_factory=dict)
    seen: bool = True
    held_out: bool = False

    def rows(self, run: TrainedRun, users: Sequence[int], width: int) -> sp.csr_array:
        """The items that each of some users does not get, beside `items`; `[len(users), width]`."""
        splits = ["train"] * self.seen + ["validation", "test"] * self.held_out
        taken = [getattr(run.dataset, split)[users].tocoo() for split in splits]
        own = [
            (place, item)
            for place, user in enumerate(users)
            for item in sorted(self.pairs.get(user, ()))
        ]
        rows = [*(part.row for part in taken), np.array([place for place, _ in own], np.int32)]
        columns = [*(part.col for part in taken), np.array([item for _, item in own], np.int32)]
        ids = np.concatenate(rows), np.concatenate(columns)
        ones = np.ones(len(ids[0]), np.float32)
        excluded = sp.csr_array((ones, ids), shape=(len(users), width))
        excluded.sum_duplicates()
        return excluded


class Block(NamedTuple):
    """The best items of some users.

    Attributes:
        users: their numbers.
        items: int64 `[n, k]`, best first, -1 where no item is left.
        scores: `[n, k]`.
    """

    users: Sequence[int]
    items: np.ndarray[Any, np.dtype[np.int64]]
    scores: np.ndarray[Any, np.dtype[Any]]


def rank_blocks(
    run: TrainedRun,
    catalog: Catalog,
    users: Sequence[int],
    k: int,
    exclusions: Exclusions | None = None,
) -> Iterator[Block]:
    """The best items of many users.

    Args:
        run: the run.
        catalog: what to choose from.
        users: their numbers, in the order in which they come back.
        k: how many items, at least 1.
        exclusions: what is left out; None for the training interactions.

    Yields:
        Blocks of at most `BLOCK` users.

    Raises:
        ValueError: k is below 1, or a user is out of range.
    """
    if k < 1:
        raise ValueError(f"recommend: k must be at least 1 (got {k})")
    total = len(run.user_embedding)
    wrong = next((user for user in users if not 0 <= user < total), None)
    if wrong is not None:
        raise ValueError(f"recommend: user must be in [0, {total}) (got {wrong})")
    exclusions = exclusions or Exclusions()
    embedding = catalog.without(exclusions.items)
    for start in range(0, len(users), BLOCK):
        chosen = list(users[start : start + BLOCK])
        excluded = sorted_rows(exclusions.rows(run, chosen, len(embedding)))
        best, scores = ops.rank(run.user_embedding[chosen], embedding, k, excluded)
        yield Block(chosen, best.numpy(), scores.numpy())


def as_records(block: Block, catalog: Catalog) -> Iterator[list[dict[str, Any]]]:
    """For every user of a block the items: `item`, `id`, `title`, `score`; best first."""
    for items, scores in zip(block.items.tolist(), block.scores.tolist(), strict=True):
        yield [
            {
                "item": item if item < catalog.known else None,
                "id": catalog.ids.names[item],
                "title": catalog.titles[item],
                "score": score,
            }
            for item, score in zip(items, scores, strict=True)
            if item >= 0
        ]


def write(
    path: Path, blocks: Iterable[Block], users: Ids, catalog: Catalog, key: str = "user"
) -> int:
    """Writes recommendations; the file is there when it is whole.

    Args:
        path: `.jsonl`: a line for every user, `user` and `items` as in `as_records`. `.parquet`: a
            row for every recommendation, `user`, `rank` from 1, `item` (its id), `title`, `score`;
            built in memory.
        blocks: what `rank_blocks` gives.
        users: the users' ids.
        catalog: what was chosen from.
        key: what `user` is called in the file.

    Returns:
        How many recommendations there are.

    Raises:
        ValueError: the file's ending is neither.
    """
    require_form(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with writing_aside(path) as aside:
        if path.suffix == ".parquet":
            return _write_parquet(aside, blocks, users, catalog, key)
        return _write_lines(aside, blocks, users, catalog, key)


def require_form(path: Path) -> None:
    """Refuses a file whose ending says nothing.

    Raises:
        ValueError: it is none of `FORMS`.
    """
    if path.suffix not in FORMS:
        raise ValueError(f"--out must end in {' or '.join(FORMS)} (got {path})")


def _write_lines(
    path: Path, blocks: Iterable[Block], users: Ids, catalog: Catalog, key: str
) -> int:
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for block in blocks:
            for user, items in zip(block.users, as_records(block, catalog), strict=True):
                count += len(items)
                line = {key: users.names[user], "items": items}
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
    return count


def _write_parquet(
    path: Path, blocks: Iterable[Block], users: Ids, catalog: Catalog, key: str
) -> int:
    user_names = pl.Series(users.names, dtype=pl.String)
    names = pl.Series(catalog.ids.names, dtype=pl.String)
    titles = pl.Series(catalog.titles, dtype=pl.String)
    frames = [
        pl.DataFrame(
            schema={
                key: pl.String,
                "rank": pl.Int32,
                "item": pl.String,
                "title": pl.String,
                "score": pl.Float32,
            }
        )
    ]
    for block in blocks:
        k = block.items.shape[1]
        items = block.items.reshape(-1)
        rows = np.repeat(np.array(block.users), k)
        ranks = np.tile(np.arange(1, k + 1, dtype=np.int32), len(block.users))
        there = items >= 0
        frames.append(
            pl.DataFrame(
                {
                    key: user_names.gather(rows[there]),
                    "rank": ranks[there],
                    "item": names.gather(items[there]),
                    "title": titles.gather(items[there]),
                    "score": block.scores.reshape(-1)[there].astype(np.float32),
                }
            )
        )
    table = pl.concat(frames)
    table.write_parquet(path)
    return table.height
