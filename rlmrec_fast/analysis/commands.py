"""What the command `overlap` does."""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console
from rich.table import Table

from rlmrec_fast.analysis.overlap_table import OverlapRow, mean_gain, overlap_table
from rlmrec_fast.training.inference import TrainedRun
from rlmrec_fast.training.model import ALIGNMENTS


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


def _cell(row: OverlapRow, align: str) -> str:
    if align not in row.overlap:
        return ""
    gain = None if align == "none" else row.gain(align)
    runs = f" ({row.runs[align]} runs)" if row.runs[align] > 1 else ""
    return f"{row.overlap[align]:.4f}{runs}" + ("" if gain is None else f" {gain:+.1%}")


def _facts(row: OverlapRow) -> dict[str, object]:
    gains = {align: gain for align in ALIGNMENTS[1:] if (gain := row.gain(align)) is not None}
    return {"model": row.model, "overlap": row.overlap, "runs": row.runs, "gain": gains}
