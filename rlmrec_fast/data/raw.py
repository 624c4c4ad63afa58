"""Reads raw tables, whatever their form, in batches of text; says which lines are no rows.

    .csv .tsv .txt .dat .inter .item .user   one row a line after a header; `,`, tab, `;` or `|`
    .jsonl .ndjson .json                     one JSON object a line
    .parquet                                 columns of any simple type

Text files may be gzipped. CSV goes to polars in blocks of whole lines as long as a block holds no
quotes and no oddity; other blocks are read row by row by Python's csv module, which decides what a
row is and knows its line.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, cast

import polars as pl

from rlmrec_fast.errors import DatasetError

LINE = "\nline"
"""The column of every batch that holds a row's line (or its number, in Parquet files)."""

SEPARATORS = "\t,;|"
_JSON = (".jsonl", ".ndjson", ".json")
_BLOCK_BYTES = 2**25
_BATCH_ROWS = 2**17
_MOST_COLUMNS = 10_000
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class BadRow:
    """A row that was left out.

    Attributes:
        line: its line, from 1 with the header counted; its number in a Parquet file.
        reason: what is wrong with it.
    """

    line: int
    reason: str


@dataclass
class BadRows:
    """Counts the bad rows of one file and keeps the first few.

    Attributes:
        file: the file.
        kept: how many to keep.
        count: how many there were.
        first: those that are kept.
    """

    file: str
    kept: int = 100
    count: int = 0
    first: list[BadRow] = field(default_factory=list)

    def add(self, line: int, reason: str) -> None:
        """Counts a bad row."""
        self.add_many([line], lambda _: reason)

    def add_many(self, lines: Sequence[int], reason: Callable[[int], str]) -> None:
        """Counts bad rows; `reason` is asked, by place in `lines`, for those that are kept."""
        self.count += len(lines)
        for place in range(min(len(lines), self.kept - len(self.first))):
            self.first.append(BadRow(lines[place], reason(place)))


class RawTable:
    """A raw table on disk.

    Args:
        path: The file.
        header: Whether a text file starts with the columns' names; else they are 1, 2, 3, ...
        separator: What stands between the fields of a text file; None to look at the header.

    Attributes:
        path: The file.
        columns: The names of its columns.

    Raises:
        FileNotFoundError: There is no such file.
        DatasetError: It is empty, damaged, or not of a known form.
    """

    def __init__(self, path: Path, header: bool = True, separator: str | None = None) -> None:
        if not path.is_file():
            state = "a folder" if path.is_dir() else "nothing there"
            raise FileNotFoundError(f"prepare: {path} must be a file (got {state})")
        self.path = path
        self._header = header
        self._separator = separator
        suffixes = [suffix.lower() for suffix in path.suffixes]
        if suffixes[-1:] == [".gz"]:
            suffixes.pop()
        self._kind = suffixes[-1] if suffixes else ""
        self.columns = self._find_columns()

    def batches(self, wanted: Sequence[str], bad: BadRows) -> Iterator[pl.DataFrame]:
        """Reads the rows in order.

        Args:
            wanted: Columns to read, at least one.
            bad: Told of every line that is no row.

        Yields:
            Frames with the wanted columns as text, null where a value is missing, and `LINE`.

        Raises:
            DatasetError: The file is damaged.
        """
        try:
            if self._kind == ".parquet":
                yield from self._parquet(wanted)
            elif self._kind in _JSON:
                yield from self._json(wanted, bad)
            else:
                yield from self._text(wanted, bad)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DatasetError(f"{self.path}: must be a whole gzip file (got {error})") from error

    def _find_columns(self) -> list[str]:
        try:
            if self._kind == ".parquet":
                names = list(_parquet_schema(self.path))
            elif self._kind in _JSON:
                names = self._json_columns()
            else:
                names = self._text_columns()
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DatasetError(f"{self.path}: must be a whole gzip file (got {error})") from error
        repeated = {name for name in names if names.count(name) > 1}
        if repeated:
            raise DatasetError(
                f"{self.path}: columns must have different names (got {min(repeated)!r} twice)"
            )
        return names

    def _open(self) -> BinaryIO:
        with self.path.open("rb") as file:
            zipped = file.read(2) == b"\x1f\x8b"
        return cast(BinaryIO, gzip.open(self.path) if zipped else self.path.open("rb"))

    def _text_columns(self) -> list[str]:
        with self._open() as file:
            line = file.readline(2**20).removeprefix(_BYTE_ORDER_MARK).strip(b"\r\n")
        if not line.strip() or b"\0" in line:
            raise DatasetError(
                f"{self.path}: must be a CSV, TSV, JSON-lines or Parquet file that starts with its"
                f" columns (got {line[:40]!r})"
            )
        text = line.decode("utf-8", "replace")
        if self._separator is None:
            self._separator = max(SEPARATORS, key=text.count)
        try:
            fields = next(csv.reader([text], delimiter=self._separator))
        except csv.Error as error:
            raise DatasetError(f"{self.path}: must start with its columns (got {error})") from error
        if len(fields) > _MOST_COLUMNS:
            raise DatasetError(
                f"{self.path}: must have at most {_MOST_COLUMNS} columns (got {len(fields)})"
            )
        if not self._header:
            return [str(number) for number in range(1, len(fields) + 1)]
        return [name.strip() for name in fields]

    def _text(self, wanted: Sequence[str], bad: BadRows) -> Iterator[pl.DataFrame]:
        places = [self.columns.index(name) for name in wanted]
        with self._open() as file:
            blocks = _blocks(file, skip_line=self._header)
            for first, block in blocks:
                if b'"' in block:
                    # A quoted field may hold line ends, so that blocks need not be whole rows.
                    lines = _lines(block, blocks)
                    yield from self._exactly(lines, first, wanted, places, bad)
                    return
                frame = self._quickly(block, first, wanted, places)
                if frame is not None:
                    yield frame
                else:
                    lines = _lines(block, ())
                    yield from self._exactly(lines, first, wanted, places, bad)

    def _quickly(
        self, block: bytes, first: int, wanted: Sequence[str], places: Sequence[int]
    ) -> pl.DataFrame | None:
        """A block's rows; None unless every line is a row with all of its fields."""
        if block.count(b"\r") != block.count(b"\r\n"):
            return None
        names = [str(place) for place in range(len(self.columns))]
        try:
            frame = pl.read_csv(
                block,
                has_header=False,
                schema=dict.fromkeys(names, pl.String),
                separator=self._separator or ",",
                quote_char=None,
            )
        except pl.exceptions.PolarsError:
            return None
        # A line that is too short looks as if its last field were empty.
        if frame[names[-1]].null_count() or frame.height != _count_lines(block):
            return None
        rows = pl.int_range(first, first + frame.height, dtype=pl.Int64, eager=True).alias(LINE)
        return frame.select(
            *(pl.col(names[place]).alias(name) for place, name in zip(places, wanted, strict=True)),
            rows,
        )

    def _exactly(
        self,
        lines: Iterable[bytes],
        first: int,
        wanted: Sequence[str],
        places: Sequence[int],
        bad: BadRows,
    ) -> Iterator[pl.DataFrame]:
        width = len(self.columns)
        text = (line.decode("utf-8", "surrogateescape") for line in lines)
        reader = csv.reader(text, delimiter=self._separator or ",", strict=True)

        def rows() -> Iterator[tuple[int, list[str]]]:
            while True:
                line = first + reader.line_num
                try:
                    row = next(reader, None)
                except csv.Error as error:
                    bad.add(line, f"must be CSV (got {error})")
                    continue
                if row is None:
                    return
                if len(row) == width:
                    yield line, row
                elif row:
                    bad.add(line, f"must have {width} fields (got {len(row)})")

        yield from _frames(
            ((line, [row[place] or None for place in places]) for line, row in rows()), wanted, bad
        )

    def _json_columns(self) -> list[str]:
        names: dict[str, None] = {}
        with self._open() as file:
            for _, entry in islice(_objects(file, BadRows("")), 1000):
                names.update(dict.fromkeys(entry))
        if not names:
            raise DatasetError(
                f"{self.path}: must hold one JSON object a line (got none in its beginning)"
            )
        return list(names)

    def _json(self, wanted: Sequence[str], bad: BadRows) -> Iterator[pl.DataFrame]:
        with self._open() as file:
            rows = (
                (line, [_json_text(entry.get(name)) for name in wanted])
                for line, entry in _objects(file, bad)
            )
            yield from _frames(rows, wanted, bad)

    def _parquet(self, wanted: Sequence[str]) -> Iterator[pl.DataFrame]:
        schema = _parquet_schema(self.path)
        columns = [_as_text(name, schema[name]) for name in wanted]
        try:
            frame = pl.read_parquet(self.path, columns=list(wanted), glob=False).select(columns)
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
            raise DatasetError(f"{self.path}: must be a whole Parquet file (got {error})") from None
        rows = pl.int_range(1, frame.height + 1, dtype=pl.Int64, eager=True).alias(LINE)
        yield from frame.with_columns(rows).iter_slices(_BATCH_ROWS * 8)


def _blocks(file: BinaryIO, skip_line: bool) -> Iterator[tuple[int, bytes]]:
    """Blocks of whole lines, each with the number of its first one."""
    start = file.readline().removeprefix(_BYTE_ORDER_MARK)
    line, rest = (2, b"") if skip_line else (1, start)
    while block := file.read(_BLOCK_BYTES):
        whole, end, after = (rest + block).rpartition(b"\n")
        if end:
            yield line, whole + end
            line += _count_lines(whole + end)
        rest = after if end else rest + block
    if rest:
        yield line, rest


def _count_lines(block: bytes) -> int:
    return block.count(b"\n") + (not block.endswith(b"\n"))


def _lines(block: bytes, more: Iterable[tuple[int, bytes]]) -> Iterator[bytes]:
    # A lone carriage return ends no line here, nor anywhere else.
    yield from io.BytesIO(block)
    for _, after in more:
        yield from io.BytesIO(after)


def _frames(
    rows: Iterable[tuple[int, list[str | None]]], wanted: Sequence[str], bad: BadRows
) -> Iterator[pl.DataFrame]:
    schema = {**dict.fromkeys(wanted, pl.String), LINE: pl.Int64}
    iterator = iter(rows)
    while batch := list(islice(iterator, _BATCH_ROWS)):
        values = list(zip(*(row for _, row in batch), strict=True))
        lines = [line for line, _ in batch]
        try:
            yield pl.DataFrame([*values, lines], schema=schema)
        except UnicodeEncodeError:
            good = [(line, row) for line, row in batch if all(map(_is_text, row))]
            bad.add_many(
                sorted({*lines} - {line for line, _ in good}), lambda _: "must be UTF-8 text"
            )
            values = list(zip(*(row for _, row in good), strict=True)) or [()] * len(wanted)
            yield pl.DataFrame([*values, [line for line, _ in good]], schema=schema)


def _is_text(value: str | None) -> bool:
    try:
        (value or "").encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _objects(file: BinaryIO, bad: BadRows) -> Iterator[tuple[int, dict[str, Any]]]:
    for line, content in enumerate(file, start=1):
        if not content.strip():
            continue
        try:
            entry = json.loads(content)
        except (ValueError, RecursionError) as error:
            bad.add(line, f"must be JSON (got {error})")
            continue
        if isinstance(entry, dict):
            yield line, entry
        else:
            bad.add(line, f"must be a JSON object (got a {type(entry).__name__})")


def _json_text(value: Any) -> str | None:
    """A JSON value as text: a list's elements joined by commas, a whole number without `.0`."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, list) and not any(isinstance(part, (list, dict)) for part in value):
        return ", ".join(text for part in value if (text := _json_text(part)))
    return json.dumps(value, ensure_ascii=False)


def _parquet_schema(path: Path) -> dict[str, Any]:
    try:
        return dict(pl.read_parquet_schema(path))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise DatasetError(f"{path}: must be a whole Parquet file (got {error})") from error


def _as_text(name: str, kind: Any) -> pl.Expr:
    column = pl.col(name)
    if isinstance(kind, pl.List):
        return column.cast(pl.List(pl.String)).list.join(", ")
    if isinstance(kind, pl.Struct):
        return column.struct.json_encode()
    if kind.is_float():
        # An integer column with gaps often is one of floats: 7, not 7.0.
        whole = column.is_finite() & (column == column.floor()) & (column.abs() < 2**53)
        return (
            pl.when(whole)
            .then(pl.when(whole).then(column).cast(pl.Int64).cast(pl.String))
            .when(column.is_finite())
            .then(column.cast(pl.String))
            .alias(name)
        )
    return column.cast(pl.String)
