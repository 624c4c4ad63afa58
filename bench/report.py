"""From records to Markdown tables, and into the READMEs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

Row = Mapping[str, Any]
ROOT = Path(__file__).resolve().parents[1]
_CPU = "the CPU"
CLOSE = 1.2
"""Below this many times an alternative's speed a case is named as close or lost."""


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; columns whose name starts with `>` are aligned to the right."""
    right = [name.startswith(">") for name in header]
    texts = [[name.removeprefix(">") for name in header], *(list(row) for row in rows)]
    widths = [max(3, *map(len, column)) for column in zip(*texts, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = (
            cell.rjust(width) if aligned else cell.ljust(width)
            for cell, width, aligned in zip(cells, widths, right, strict=True)
        )
        return f"| {' | '.join(padded)} |"

    dashes = ["-" * (w - a) + ":" * a for w, a in zip(widths, right, strict=True)]
    return "\n".join([line(texts[0]), line(dashes), *map(line, texts[1:])])


def read_records(path: Path) -> list[Row]:
    """The records of a results file.

    Raises:
        FileNotFoundError: there is none.
        ValueError: a line is not a record, or they are of more than one device.
    """
    records = []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        try:
            record = json.loads(line)
            records.append(record)
            _ = record["family"], record["case"], record["provider"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"bench: {path} must hold records (got {error!r}, line {number})"
            ) from error
    if not records:
        raise ValueError(f"bench: {path} must hold records (got none)")
    devices = sorted({_device(record) for record in records})
    if len(devices) > 1:
        raise ValueError(
            f"bench: {path} must hold records of one device (got {' and '.join(devices)})"
        )
    return records


def on_gpu(records: Sequence[Row]) -> bool:
    """Whether records were taken on a GPU."""
    return _device(records[0]) != _CPU


def _device(record: Row) -> str:
    gpu = record.get("environment", {}).get("device")
    return _CPU if gpu is None else str(gpu["name"])


def write_records(path: Path, records: Iterable[Row]) -> None:
    """Writes records as JSON lines, aside first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _replace(path, "".join(json.dumps(record) + "\n" for record in records))


def full_report(records: Sequence[Row]) -> str:
    """Where the figures come from, a table per family, and what is lost or close."""
    parts = [_origin(records)]
    for family, rows in groupby(records, key=lambda record: str(record["family"])):
        found = list(rows)
        parts += [f"### {family}", family_table(found), *_details(found)]
    parts += ["### Close or lost", close_or_lost(records)]
    return "\n\n".join(parts)


def family_table(records: Iterable[Row]) -> str:
    """One row per provider, ours first in every case."""
    header = (
        "case", "provider", ">ms", ">p20 - p80", ">time / ours", ">asked", ">memory MB",
        ">difference", ">floor ms (share)",
    )  # fmt: skip
    return markdown(header, map(_cells, records))


def headline_cases(records: Sequence[Row]) -> Iterator[tuple[Row, Row, Row, str]]:
    """Every case with a target: ours, the way it is usually done, the best other, a name."""
    for case in _by_case(records):
        ours = case[0]
        others = [record for record in case[1:] if record["ratio"] is not None]
        asked = [record for record in others if record["target"] is not None]
        if not asked or ours["median_ms"] is None:
            continue
        usual = max(asked, key=lambda record: float(record["ratio"]))
        best = min(others, key=lambda record: float(record["ratio"]))
        yield ours, usual, best, ", ".join([ours["case"], *_telling(ours["setting"])])


def _telling(setting: Mapping[str, Any]) -> Iterator[str]:
    """The settings that tell cases of one name apart."""
    for key in ("candidates", "rows", "d", "text width"):
        if key in setting:
            value = setting[key]
            yield f"{value:,} {key}" if key in ("candidates", "rows") else f"{key} {value:,}"


def summary(records: Sequence[Row]) -> str:
    """One row for every case with a target: ours, the way it is usually done, the best other."""
    rows = [
        (name, _ms(ours), _versus(usual), _versus(best))
        for ours, usual, best, name in headline_cases(records)
    ]
    header = ("what", ">rlmrec_fast, ms", ">usual way, ms", ">best alternative, ms")
    return f"{_origin(records)}\n\n{markdown(header, rows)}"


def close_or_lost(records: Sequence[Row]) -> str:
    """Alternatives that we are less than `CLOSE` times as fast as, and targets that are missed."""
    lines = []
    for record in records:
        ratio, target = record["ratio"], record["target"]
        if ratio is None or record["family"] == "isa" or _is_our_own(record):
            continue
        where = f"{record['case']} ({_setting(record)}): {record['provider']}"
        if ratio < CLOSE:
            verdict = "lost" if ratio < 1 else "close"
            lines.append(f"- {verdict}: {where}, {ratio:.2f} of our time")
        elif target is not None and ratio < target:
            lines.append(f"- below target: {where}, {ratio:.1f} of {target:g}")
    return "\n".join(lines) or "Nothing."


def rewrite_tables(records: Sequence[Row]) -> list[str]:
    """Puts the tables between the markers of both READMEs; those of a GPU have their own.

    Returns:
        What was done, in words.
    """
    done, suffix = [], "-cuda" if on_gpu(records) else ""
    for path, name, text in (
        (ROOT / "bench" / "README.md", f"results{suffix}", full_report(records)),
        (ROOT / "README.md", f"summary{suffix}", summary(records)),
    ):
        if not path.is_file():
            done.append(f"{path}: not there, left out")
            continue
        old = path.read_text()
        if (new := replace_between(old, name, text)) is None:
            done.append(f"{path}: has no markers <!-- bench:{name} -->, left as it is")
            continue
        _replace(path, new)
        done.append(f"{path}: rewritten")
    return done


def replace_between(document: str, name: str, text: str) -> str | None:
    """The document with new text between its markers, None where it has no such markers."""
    begin, end = f"<!-- bench:{name} -->", f"<!-- /bench:{name} -->"
    head, found, rest = document.partition(begin)
    _, closed, tail = rest.partition(end)
    return f"{head}{begin}\n{text}\n{end}{tail}" if found and closed else None


def _replace(path: Path, text: str) -> None:
    aside = path.with_name(f".{path.name}.{os.getpid()}.aside")
    try:
        aside.write_text(text)
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def _by_case(records: Sequence[Row]) -> Iterator[list[Row]]:
    for _, rows in groupby(records, key=lambda r: (r["family"], r["case"], str(r["setting"]))):
        yield list(rows)


def _is_our_own(record: Row) -> bool:
    return str(record["provider"]).startswith("rlmrec_fast")


def _cells(record: Row) -> tuple[str, ...]:
    case = f"{record['case']} ({_setting(record)})" if record["ours"] else ""
    if record["error"] is not None:
        return (case, f"{record['provider']}: {record['error']}", *[""] * 7)
    floor, memory, difference = record["floor"], record["memory_bytes"], record["difference"]
    return (
        case,
        record["provider"],
        _ms(record),
        f"{_short(record['p20_ms'])} - {_short(record['p80_ms'])}",
        "" if record["ratio"] is None else f"{_short(record['ratio'])}x",
        "" if record["target"] is None else f"{record['target']:g}x",
        "" if memory is None else f"{memory / 1e6:.1f}",
        "" if difference is None else f"{difference:.0e}",
        "" if floor is None else f"{_short(floor['ms'])} ({floor['share']:.0%})",
    )


def _details(records: Sequence[Row]) -> Iterator[str]:
    for record in records:
        for name, value in record["details"].items():
            if isinstance(value, dict):
                parts = ", ".join(f"{part} {share:.0%}" for part, share in value.items())
                yield f"{record['case']}, {record['provider']}, {name}: {parts}."
    kept = [r for r in records if "saved for backward" in r["details"]]
    if kept:
        rows = ((r["case"], r["provider"], str(r["details"]["saved for backward"])) for r in kept)
        yield markdown(("case", "provider", ">bytes kept for the backward pass"), rows)


def _origin(records: Sequence[Row]) -> str:
    found = records[0]["environment"]
    gpu = found.get("device")
    return ("" if gpu is None else f"{_gpu(gpu)}; host: ") + (
        f"{found['cpu']}, {found['threads']} of {found['cores']} cores, {found['isa']}; "
        f"torch {found['torch']}, Python {found['python']}, {found['compiler']}, {found['os']}; "
        f"data: {found['data']}; commit {found['commit']}, {found['date'][:10]}."
    )


def _gpu(about: Mapping[str, Any]) -> str:
    """A GPU in a few words."""
    words = [
        f"{about['name']} (compute capability {about['capability']})",
        f"{about['multiprocessors']} multiprocessors",
        f"{about['memory'] / 1e9:.0f} GB",
        f"CUDA {about['cuda']}",
        *(f"{name} {about[name]}" for name in ("driver", "power limit", "clock") if name in about),
    ]
    return ", ".join(words)


def _setting(record: Row) -> str:
    return ", ".join(
        f"{name} {value:,}" if isinstance(value, int) else f"{name} {value}"
        for name, value in record["setting"].items()
    )


def _versus(record: Row) -> str:
    return f"{_ms(record)} ({_short(record['ratio'])}x): {record['provider']}"


def _ms(record: Row) -> str:
    return _short(record["median_ms"])


def _short(value: float) -> str:
    """Three significant digits without an exponent."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"
