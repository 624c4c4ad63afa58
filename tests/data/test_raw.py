from __future__ import annotations

import gzip
from pathlib import Path

import polars as pl
import pytest

from rlmrec_fast.data import raw
from rlmrec_fast.data.raw import LINE, BadRows, RawTable
from rlmrec_fast.errors import DatasetError


def read(path: Path, *wanted: str, **options: object) -> tuple[list[tuple[object, ...]], BadRows]:
    """The rows, each ended by its line, and the bad ones."""
    table, bad = RawTable(path, **options), BadRows(str(path))
    rows = [row for frame in table.batches(wanted or table.columns, bad) for row in frame.rows()]
    return rows, bad


def write(path: Path, content: bytes | str) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", "user,item\na,x\nb,y\n"),
        ("t.csv", "user,item\r\na,x\r\nb,y"),
        ("t.csv", "\ufeffuser,item\na,x\nb,y\n"),
        ("t.csv", 'user,"item"\n"a",x\nb,"y"\n'),
        ("t.csv", "user;item\na;x\nb;y\n"),
        ("t.tsv", "user\titem\na\tx\nb\ty\n"),
        ("t.dat", "user|item\na|x\nb|y\n"),
        ("t.jsonl", '{"user": "a", "item": "x"}\n{"item": "y", "user": "b"}\n'),
        ("t.csv.gz", gzip.compress(b"user,item\na,x\nb,y\n", mtime=0)),
        ("t.jsonl.gz", gzip.compress(b'{"user":"a","item":"x"}\n{"user":"b","item":"y"}', mtime=0)),
    ],
)
def test_every_form_gives_the_same_rows(tmp_path, name, content):
    rows, bad = read(write(tmp_path / name, content), "item", "user")
    first = 1 if "json" in name else 2
    assert rows == [("x", "a", first), ("y", "b", first + 1)]
    assert bad.count == 0


def test_parquet_gives_text_and_counts_rows(tmp_path):
    frame = pl.DataFrame(
        {
            "user": [7, 8],
            "item": [1.0, None],
            "score": [2.5, float("nan")],
            "tags": [["a", "b"], []],
            "more": [{"x": 1}, {"x": 2}],
        }
    )
    frame.write_parquet(tmp_path / "t.parquet")
    rows, _ = read(tmp_path / "t.parquet")
    assert rows == [("7", "1", "2.5", "a, b", '{"x":1}', 1), ("8", None, None, "", '{"x":2}', 2)]


def test_quoted_fields_may_hold_separators_quotes_and_line_ends(tmp_path):
    content = 'id,title\n1,"a, ""b""\nc"\n2,plain\n\n3,"x"\n'
    rows, bad = read(write(tmp_path / "t.csv", content))
    assert rows == [("1", 'a, "b"\nc', 2), ("2", "plain", 4), ("3", "x", 6)]
    assert bad.count == 0


BAD = "a,b\n1,2\n1\n1,2,3\n\n3,\n4,5\r6\n7,8\n"


@pytest.mark.parametrize("quotes", [False, True])
def test_lines_that_are_no_rows_are_named(tmp_path, quotes):
    content = BAD.replace("7,8", '"7",8') if quotes else BAD
    rows, bad = read(write(tmp_path / "t.csv", content))
    assert rows == [("1", "2", 2), ("3", None, 6), ("7", "8", 8)]
    assert [row.line for row in bad.first] == [3, 4, 7]
    assert bad.first[0].reason == "must have 2 fields (got 1)"
    assert bad.first[1].reason == "must have 2 fields (got 3)"
    assert bad.count == 3


def test_an_open_quote_costs_one_named_row(tmp_path):
    rows, bad = read(write(tmp_path / "t.csv", 'a,b\n1,2\n3,"4\n5,6\n'))
    assert rows == [("1", "2", 2)]
    assert [row.line for row in bad.first] == [3]


def test_text_that_is_not_utf8_costs_its_rows(tmp_path):
    rows, bad = read(write(tmp_path / "t.csv", b"a,b\n1,2\n\xff,3\n4,5\n"))
    assert rows == [("1", "2", 2), ("4", "5", 4)]
    assert [(row.line, row.reason) for row in bad.first] == [(3, "must be UTF-8 text")]
    rows, bad = read(write(tmp_path / "t.jsonl", '{"a": "\\ud800"}\n{"a": "x"}\n'))
    assert rows == [("x", 2)]
    assert [row.line for row in bad.first] == [1]


def test_json_lines_that_are_no_objects_are_named(tmp_path):
    content = '{"a": 1, "b": [1, "x", null]}\n[1]\n{"a"\n\n{"a": NaN, "b": true}\n{"a": 2.0}\n'
    rows, bad = read(write(tmp_path / "t.jsonl", content + '{"a": 0.5, "b": {"c": [1]}}'))
    assert rows == [
        ("1", "1, x", 1),
        (None, "true", 5),
        ("2", None, 6),
        ("0.5", '{"c": [1]}', 7),
    ]
    assert [row.line for row in bad.first] == [2, 3]


@pytest.mark.parametrize("size", [1, 2, 7, 10, 64])
@pytest.mark.parametrize("quotes", [False, True])
def test_the_size_of_blocks_does_not_matter(tmp_path, monkeypatch, size, quotes):
    path = write(tmp_path / "t.csv", BAD.replace("1,2\n", '"1",2\n', int(quotes)) * 3)
    whole = read(path)
    monkeypatch.setattr(raw, "_BLOCK_BYTES", size)
    monkeypatch.setattr(raw, "_BATCH_ROWS", 1 + size // 3)
    assert read(path) == whole
    assert len(whole[0]) == 11


def test_quick_and_exact_reading_agree(tmp_path, monkeypatch):
    content = "a,b,c\n" + "".join(f"u{n % 97}, {n}.5 ,'{n}é\n" for n in range(5000))
    path = write(tmp_path / "t.csv", content)
    quick = read(path)
    monkeypatch.setattr(RawTable, "_quickly", lambda *_: None)
    assert read(path) == quick
    assert len(quick[0]) == 5000


def test_without_a_header_columns_are_numbers(tmp_path):
    path = write(tmp_path / "u.data", "1\t2\t3\n4\t5\t6\n")
    assert RawTable(path, header=False).columns == ["1", "2", "3"]
    assert read(path, "3", "1", header=False)[0] == [("3", "1", 1), ("6", "4", 2)]


def test_a_separator_may_be_told(tmp_path):
    path = write(tmp_path / "t.txt", "a:b,c\n1:2,3\n")
    assert read(path, separator=":")[0] == [("1", "2,3", 2)]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"", "must be a CSV, TSV, JSON-lines or Parquet file"),
        ("t.csv", b"\x00\x01", "must be a CSV, TSV, JSON-lines or Parquet file"),
        ("t.csv", b"a,a\n1,2\n", "different names \\(got 'a' twice\\)"),
        ("t.jsonl", b"[1]\n", "must hold one JSON object a line"),
        ("t.parquet", b"PAR1", "must be a whole Parquet file"),
        ("t.csv.gz", gzip.compress(b"a,b\n1,2\n" * 9999)[:-20], "must be a whole gzip file"),
    ],
)
def test_other_files_are_refused_by_name(tmp_path, name, content, message):
    with pytest.raises(DatasetError, match=message) as caught:
        read(write(tmp_path / name, content))
    assert name in str(caught.value)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"must be a file \(got nothing there\)"):
        RawTable(tmp_path / "none.csv")
    with pytest.raises(FileNotFoundError, match=r"must be a file \(got a folder\)"):
        RawTable(tmp_path)


def test_only_the_first_bad_rows_are_kept():
    bad = BadRows("f", kept=3)
    bad.add_many([5, 6], lambda place: f"reason {place}")
    bad.add_many([7, 8, 9], lambda place: f"other {place}")
    assert bad.count == 5
    assert [(row.line, row.reason) for row in bad.first] == [
        (5, "reason 0"),
        (6, "reason 1"),
        (7, "other 0"),
    ]


def test_lines_are_in_a_column_no_file_can_have(tmp_path):
    rows, _ = read(write(tmp_path / "t.csv", "line,item\n1,2\n"))
    assert rows == [("1", "2", 2)]
    assert "\n" in LINE
