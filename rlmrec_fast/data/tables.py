"""Tables of users or items: their ids, titles, profile texts and descriptions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from rlmrec_fast.errors import DatasetError

COLUMNS = ("id", "title", "profile", "description")


def make_table(
    ids: Sequence[str],
    titles: Sequence[str | None] | None = None,
    profiles: Sequence[str | None] | None = None,
    descriptions: Sequence[str | None] | None = None,
) -> pl.DataFrame:
    """Makes the table of all users or all items, row n being user or item n.

    Args:
        ids: The original ids.
        titles: Short names, None where unknown.
        profiles: Texts that say what an item is or what a user likes, None where unknown.
        descriptions: What there is to write profiles from, None where unknown.

    Returns:
        Columns `id`, `title`, `profile` and `description`, all text.
    """
    columns = {"id": ids, "title": titles, "profile": profiles, "description": descriptions}
    return pl.DataFrame(
        {
            name: pl.Series(name, [None] * len(ids) if values is None else values, dtype=pl.String)
            for name, values in columns.items()
        }
    )


def checked_table(table: Any, rows: int, name: str) -> pl.DataFrame:
    """Brings a table into its one form.

    Args:
        table: A polars DataFrame with a column `id`, text or integer, and optionally `title`,
            `profile` and `description`, text.
        rows: The number of users or items.
        name: The table's name in messages.

    Returns:
        Columns `id`, `title`, `profile` and `description`, all text; null where one is unknown.

    Raises:
        TypeError: It is not a DataFrame, or a column is not text.
        ValueError: A row too few or too many, an unknown column, a missing or repeated id.
    """
    if not isinstance(table, pl.DataFrame):
        raise TypeError(f"Dataset: {name} must be a polars DataFrame (got {type(table).__name__})")
    unknown = sorted(set(table.columns) - set(COLUMNS))
    if "id" not in table.columns or unknown:
        raise ValueError(
            f"Dataset: {name} must have the column id and may have {', '.join(COLUMNS[1:])}"
            f" (got {', '.join(table.columns) or 'no columns'})"
        )
    if table.height != rows:
        raise ValueError(f"Dataset: {name} must have {rows} rows (got {table.height})")
    columns = []
    for column in COLUMNS:
        kind = table.schema.get(column, pl.Null)
        if kind not in (pl.String, pl.Null) and not (column == "id" and kind.is_integer()):
            raise TypeError(f"Dataset: {name}.{column} must be text (got {kind})")
        source = pl.col(column) if column in table.columns else pl.lit(None)
        columns.append(source.cast(pl.String).alias(column))
    result: pl.DataFrame = table.select(columns)
    ids = result["id"]
    if ids.null_count():
        raise ValueError(f"Dataset: {name}.id must be known for every row (got null)")
    if ids.n_unique() != rows:
        repeated = ids.filter(ids.is_duplicated())[0]
        raise ValueError(f"Dataset: {name}.id must be unique (got {repeated!r} more than once)")
    return result


def read_table(path: Path) -> pl.DataFrame:
    """Reads a Parquet file.

    Raises:
        DatasetError: The file is damaged.
    """
    try:
        return pl.read_parquet(path, memory_map=False, glob=False)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise DatasetError(f"{path}: must be a whole Parquet file (got {error})") from error


def write_table(path: Path, table: pl.DataFrame) -> None:
    """Writes a Parquet file."""
    table.write_parquet(path)
