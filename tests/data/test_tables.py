from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from rlmrec_fast.data.tables import checked_table, make_table, read_table, write_table
from rlmrec_fast.errors import DatasetError


def test_every_table_has_the_same_columns() -> None:
    table = make_table(["a", "b"], profiles=["text", None], descriptions=[None, "raw"])
    names = ("id", "title", "profile", "description")
    assert table.schema == dict.fromkeys(names, pl.String)
    assert table.rows() == [("a", None, "text", None), ("b", None, None, "raw")]


def test_missing_columns_are_added_and_integer_ids_become_text() -> None:
    table = checked_table(pl.DataFrame({"profile": ["x", "y"], "id": [7, 8]}), 2, "items")
    assert table.rows() == [("7", None, "x", None), ("8", None, "y", None)]


@pytest.mark.parametrize(
    ("table", "error", "message"),
    [
        ({"id": ["a"]}, TypeError, "items must be a polars DataFrame .got dict"),
        (pl.DataFrame({"name": ["a"]}), ValueError, "must have the column id"),
        (
            pl.DataFrame({"id": ["a"], "price": [1]}),
            ValueError,
            "may have title, profile, description",
        ),
        (pl.DataFrame(), ValueError, "no columns"),
        (pl.DataFrame({"id": ["a"]}), ValueError, "must have 2 rows .got 1"),
        (pl.DataFrame({"id": ["a", None]}), ValueError, "known for every row"),
        (pl.DataFrame({"id": ["a", "a"]}), ValueError, "unique .got 'a'"),
        (pl.DataFrame({"id": [0.5, 1.5]}), TypeError, "items.id must be text"),
        (pl.DataFrame({"id": ["a", "b"], "title": [1, 2]}), TypeError, "items.title must be text"),
    ],
)
def test_unsound_tables_are_refused_by_name(
    table: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        checked_table(table, 2, "items")


def test_a_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    file = tmp_path / "items[1].parquet"
    table = make_table(["ä", "\n"], titles=["", None])
    write_table(file, table)
    assert read_table(file).equals(table)


def test_a_cut_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "items.parquet"
    write_table(file, make_table([str(n) for n in range(100)]))
    content = file.read_bytes()
    for length in range(0, len(content), 31):
        file.write_bytes(content[:length])
        with pytest.raises(DatasetError, match=r"items\.parquet: must be a whole Parquet"):
            read_table(file)
