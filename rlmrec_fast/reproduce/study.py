"""Everything about a study that is written down: JSON, CSV and the index page."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rlmrec_fast.analysis.overlap_table import OverlapRow, mean_gain
from rlmrec_fast.reproduce.grid import Cell, Found
from rlmrec_fast.reproduce.results import METRICS, Comparison, Row
from rlmrec_fast.training.model import ALIGNMENTS


@dataclass(frozen=True)
class Study:
    """A study, as far as it has come.

    Attributes:
        out: Its folder.
        cells: The grid.
        finished: Cell's name -> finished run.
        failed: Cell's name -> why it failed.
        rows: The results table.
        comparisons: Significance against the backbones.
        overlap: Data set -> Jaccard table.
        pages: Cell's name -> analysis page, relative to `out`.
        pages_failed: Page's name -> why it could not be made.
    """

    out: Path
    cells: Sequence[Cell]
    finished: Mapping[str, Found]
    failed: Mapping[str, str]
    rows: Sequence[Row]
    comparisons: Sequence[Comparison]
    overlap: Mapping[str, Sequence[OverlapRow]]
    pages: Mapping[str, str] = field(default_factory=dict)
    pages_failed: Mapping[str, str] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """The study for JSON."""
        return {
            "runs": [self._run(cell) for cell in self.cells],
            "results": [asdict(row) for row in self.rows],
            "significance": [{**asdict(row), "gain": row.gain} for row in self.comparisons],
            "overlap": {
                name: {
                    "rows": [overlap_facts(row) for row in rows],
                    "mean_gain": gains(rows),
                }
                for name, rows in self.overlap.items()
            },
            "pages_failed": dict(self.pages_failed),
        }

    def _run(self, cell: Cell) -> dict[str, Any]:
        """What is known of one run."""
        facts: dict[str, Any] = {
            "name": cell.name,
            "data": cell.source.name,
            "model": cell.settings.model,
            "align": cell.settings.align,
            "seed": cell.settings.seed,
        }
        found = self.finished.get(cell.name)
        if found is not None:
            return {
                **facts,
                "state": "finished",
                "path": os.path.relpath(found.path, self.out),
                **found.result,
                "page": self.pages.get(cell.name),
            }
        if cell.name in self.failed:
            return {**facts, "state": "failed", "reason": self.failed[cell.name]}
        return {**facts, "state": "missing"}

    def csv(self) -> str:
        """The results table, a line for every data set, model and alignment."""
        names = [f"{metric}{end}" for metric in METRICS for end in ("", " deviation")]
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["data", "model", "align", "runs", *names, "best epoch", "seconds"])
        for row in self.rows:
            values = [
                value
                for metric in METRICS
                for value in (row.means[metric], row.deviations.get(metric, ""))
            ]
            first = [row.data, row.model, row.align, len(row.seeds)]
            writer.writerow([*first, *values, row.best_epoch, row.seconds])
        return file.getvalue()


def overlap_facts(row: OverlapRow) -> dict[str, Any]:
    """A line of the Jaccard table for JSON."""
    found = {align: row.gain(align) for align in ALIGNMENTS[1:]}
    return {
        **asdict(row),
        "gain": {align: gain for align, gain in found.items() if gain is not None},
    }


def gains(rows: Sequence[OverlapRow]) -> dict[str, float]:
    """The mean relative gain of every alignment that has one."""
    found = {align: mean_gain(rows, align) for align in ALIGNMENTS[1:]}
    return {align: gain for align, gain in found.items() if gain is not None}
