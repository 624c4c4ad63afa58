"""What the commands `overlap` and `analyze` do."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from rlmrec_fast.analysis.overlap import KS
from rlmrec_fast.analysis.overlap_table import OverlapRow, mean_gain, overlap_table
from rlmrec_fast.analysis.subject import Subject
from rlmrec_fast.training.inference import TrainedRun
from rlmrec_fast.training.model import ALIGNMENTS

__all__ = ["KS", "AnalyzeRequest", "analyze", "overlap"]


def overlap(runs: list[Path], k: int, side: str, data: Path | None, as_json: bool) -> None:
    """Prints how far the neighbourhoods of runs agree with those of the texts."""
    rows = overlap_table((TrainedRun.load(run, data) for run in runs), k, side)
    if as_json:
        print(json.dumps({"k": k, "side": side, "models": [_facts(row) for row in rows]}))
        return
    table = Table(title=f"{side}: mean Jaccard of the {k} nearest with the texts'")
    table.title_justify = "left"
    table.add_column("model")
    for align in ALIGNMENTS:
        table.add_column("backbone" if align == "none" else align, justify="right")
    for row in rows:
        table.add_row(row.model, *(_cell(row, align) for align in ALIGNMENTS))
    if len(rows) > 1:
        means = (mean_gain(rows, align) for align in ALIGNMENTS[1:])
        table.add_section()
        table.add_row("mean gain", "", *("" if gain is None else f"{gain:+.1%}" for gain in means))
    Console(markup=False, emoji=False, highlight=False).print(table)


@dataclass(frozen=True)
class AnalyzeRequest:
    """What `analyze` was asked for.

    Attributes:
        runs: folders of runs; none with `text`.
        out: the report's folder.
        data: the data set's folder, if it is not where it was in training.
        text: `.npy` of text vectors, in place of runs.
        tables: `NAME=FILE` each, with `text`.
        titles: a text file of titles, with `text`.
        popularity: `.npy` of training interactions, with `text`.
        ks: how many neighbours.
        method: of the maps.
        items: ids of items for case studies.
        seed: of all randomness.
        overwrite: whether to replace a report.
    """

    runs: Sequence[Path]
    out: Path
    data: Path | None
    text: Path | None
    tables: Sequence[str]
    titles: Path | None
    popularity: Path | None
    ks: Sequence[int]
    method: str
    items: Sequence[str]
    seed: int
    overwrite: bool


def analyze(request: AnalyzeRequest) -> None:
    """Writes the report on runs or tables, and prints what it comes to."""
    from rlmrec_fast.analysis import report
    from rlmrec_fast.analysis.page import answers

    start = time.perf_counter()

    def progress(text: str) -> None:
        print(f"{time.perf_counter() - start:6.1f} s  {text}", file=sys.stderr)

    report.check_place(request.out, request.overwrite)
    subject = _subject(request)
    found = report.analyze(
        subject,
        ks=request.ks,
        method=request.method,
        items=request.items,
        seed=request.seed,
        progress=progress,
    )
    progress("figures and page")
    found.save(request.out, request.overwrite)
    progress("done")
    for line in (*answers(found), *found.notes, f"The report: {request.out / 'index.html'}"):
        print(line)


def _subject(request: AnalyzeRequest) -> Subject:
    from rlmrec_fast.analysis.subject import from_files, from_runs

    extras = {
        "--table": request.tables,
        "--titles": request.titles,
        "--popularity": request.popularity,
    }
    if request.text is None:
        given = [name for name, value in extras.items() if value]
        if given:
            raise ValueError(f"analyze: {given[0]} must come with --text (got none)")
        return from_runs(request.runs, request.data)
    if request.runs:
        raise ValueError(f"analyze: runs must not be given with --text (got {request.runs[0]})")
    return from_files(request.text, request.tables, request.titles, request.popularity)


def _cell(row: OverlapRow, align: str) -> str:
    if align not in row.overlap:
        return ""
    gain = None if align == "none" else row.gain(align)
    runs = f" ({row.runs[align]} runs)" if row.runs[align] > 1 else ""
    return f"{row.overlap[align]:.4f}{runs}" + ("" if gain is None else f" {gain:+.1%}")


def _facts(row: OverlapRow) -> dict[str, object]:
    gains = {align: gain for align in ALIGNMENTS[1:] if (gain := row.gain(align)) is not None}
    return {"model": row.model, "overlap": row.overlap, "runs": row.runs, "gain": gains}
