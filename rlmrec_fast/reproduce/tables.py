"""The tables of a study as text, for the terminal and for the index page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rlmrec_fast.analysis.overlap_table import OverlapRow
from rlmrec_fast.reproduce.results import METRICS, Comparison, Row
from rlmrec_fast.reproduce.study import Study, gains
from rlmrec_fast.semantic.progress import duration
from rlmrec_fast.training.model import ALIGNMENTS

SHOWN = ("recall@20", "ndcg@20")
"""The metrics whose significance is shown; the files have all."""


@dataclass(frozen=True)
class TextTable:
    """A table ready to be shown.

    Attributes:
        title: What it shows.
        columns: Their heads; the first `names` are names, the others numbers.
        rows: As many texts as there are columns.
        names: How many columns are names.
        note: What has to be known to read it.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    names: int
    note: str = ""

    def text(self) -> str:
        """The table in aligned columns, however wide."""
        lines = [self.columns, *self.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join(
            "  ".join(
                cell.ljust(width) if place < self.names else cell.rjust(width)
                for place, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        )


def tables(study: Study) -> list[TextTable]:
    """Every table of a study that has a row."""
    data = list(dict.fromkeys(row.data for row in study.rows))
    found = [_results([row for row in study.rows if row.data == name], name) for name in data]
    found += [_overlap(name, rows) for name, rows in study.overlap.items() if rows]
    for name in data:
        compared = [row for row in study.comparisons if row.data == name]
        if compared:
            found.append(_significance(compared, name))
    return found


def short(metric: str) -> str:
    """`R@20` for `recall@20`."""
    return metric[0].upper() + metric[metric.index("@") :]


def _results(rows: Sequence[Row], data: str) -> TextTable:
    heads = [short(metric) for metric in METRICS]
    cells = [
        [
            row.model,
            row.align,
            str(len(row.seeds)),
            *(_spread(row.means[name], row.deviations.get(name)) for name in METRICS),
            f"{row.best_epoch:.0f}",
            duration(row.seconds),
        ]
        for row in rows
    ]
    note = "Test items; mean ± sample deviation over the seeds."
    columns = ["model", "alignment", "seeds", *heads, "best epoch", "time"]
    return TextTable(f"{data}: results", columns, cells, 2, note)


def _spread(value: float, deviation: float | None) -> str:
    return f"{value:.4f}" + ("" if deviation is None else f" ± {deviation:.4f}")


def _overlap(data: str, rows: Sequence[OverlapRow]) -> TextTable:
    aligns = [align for align in ALIGNMENTS if any(align in row.overlap for row in rows)]
    cells = [[row.model, *(_jaccard(row, align) for align in aligns)] for row in rows]
    mean = gains(rows)
    if mean and len(rows) > 1:
        cells.append(
            ["mean gain", *(f"{mean[align]:+.1%}" if align in mean else "" for align in aligns)]
        )
    note = "Mean Jaccard index of each item's nearest neighbours in the embedding and in the texts."
    return TextTable(f"{data}: overlap with the texts", ["model", *aligns], cells, 1, note)


def _jaccard(row: OverlapRow, align: str) -> str:
    if align not in row.overlap:
        return ""
    gain = row.gain(align) if align != "none" else None
    return f"{row.overlap[align]:.4f}" + ("" if gain is None else f" ({gain:+.1%})")


def _significance(rows: Sequence[Comparison], data: str) -> TextTable:
    columns = ["model", "alignment"]
    for metric in SHOWN:
        columns += [short(metric), "gain", "t test", "Wilcoxon"]
    cells = []
    for key in dict.fromkeys((row.model, row.align) for row in rows):
        own = {row.metric: row for row in rows if (row.model, row.align) == key}
        line = list(key)
        for metric in SHOWN:
            row = own[metric]
            gain = "" if row.gain is None else f"{row.gain:+.1%}"
            values = [f"{row.backbone:.4f} → {row.aligned:.4f}", gain]
            line += [*values, _p(row.t_test), _p(row.wilcoxon)]
        cells.append(line)
    note = (
        f"Against the backbone alone, over {rows[0].users:,} users; two-sided p values, not"
        " corrected for their number."
    )
    return TextTable(f"{data}: significance", columns, cells, 2, note)


def _p(value: float) -> str:
    return "< 0.0001" if value < 1e-4 else f"{value:.4f}"
