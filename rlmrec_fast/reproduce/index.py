"""The index page of a study: its tables, and a link to every run's analysis page."""

from __future__ import annotations

import os
from collections.abc import Sequence
from html import escape
from urllib.parse import quote

from rlmrec_fast._version import __version__
from rlmrec_fast.reproduce.study import Study
from rlmrec_fast.reproduce.tables import TextTable, tables
from rlmrec_fast.semantic.progress import duration

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8888; --link: #2563eb; }
@media (prefers-color-scheme: dark) { :root { --link: #7aa2f7; } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; }
h2 { font-size: 1.1rem; margin: 2.2rem 0 .5rem; }
p { margin: .25rem 0; color: color-mix(in srgb, currentColor 70%, transparent); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; white-space: nowrap; }
th, td { padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line); text-align: right; }
th { font-weight: 600; }
th.name, td.name { text-align: left; }
td.reason { text-align: left; white-space: normal; }
a { color: var(--link); }
"""


def render(study: Study) -> str:
    """The page's HTML, which needs nothing but itself."""
    done, failed = len(study.finished), len(study.failed)
    state = f"{done} of {len(study.cells)} runs finished" + (f", {failed} failed" if failed else "")
    parts = [_table(table) for table in tables(study)]
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            '<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(_title(study))}</title>",
            f"<style>{_STYLE}</style>",
            f"<h1>{escape(_title(study))}</h1>",
            f"<p>{escape(state)}; rlmrec_fast {escape(__version__)}. The numbers are in",
            '<a href="results.json">results.json</a> and <a href="results.csv">results.csv</a>.',
            "</p>",
            *parts,
            _runs(study),
            "</html>",
            "",
        ]
    )


def _title(study: Study) -> str:
    return f"Study of {', '.join(dict.fromkeys(cell.source.name for cell in study.cells))}"


def _table(table: TextTable) -> str:
    rows = [_row(row, table.names) for row in table.rows]
    return (
        f"<h2>{escape(table.title)}</h2>\n<p>{escape(table.note)}</p>\n"
        f"{_grid(table.columns, rows, table.names)}"
    )


def _grid(columns: Sequence[str], rows: Sequence[str], names: int) -> str:
    heads = "".join(
        f'<th scope="col"{_name(place, names)}>{escape(column)}</th>'
        for place, column in enumerate(columns)
    )
    body = "\n".join(rows)
    return (
        f'<div class="wide"><table>\n<thead><tr>{heads}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody>\n</table></div>"
    )


def _row(cells: Sequence[str], names: int) -> str:
    texts = [f"<td{_name(place, names)}>{escape(text)}</td>" for place, text in enumerate(cells)]
    return f"<tr>{''.join(texts)}</tr>"


def _name(place: int, names: int) -> str:
    return ' class="name"' if place < names else ""


def _runs(study: Study) -> str:
    rows = [_run(study, name) for name in (cell.name for cell in study.cells)]
    grid = _grid(["run", "analysis", "state", "files"], rows, 4)
    missing = [f"{name}: {reason}" for name, reason in study.pages_failed.items()]
    notes = "".join(f"<p>No analysis of {escape(text)}</p>\n" for text in missing)
    return f"<h2>Runs</h2>\n{notes}{grid}"


def _run(study: Study, name: str) -> str:
    found = study.finished.get(name)
    page = study.pages.get(name)
    analysis = f'<a href="{quote(page)}">analysis</a>' if page else ""
    files = ""
    if found is not None:
        path = os.path.relpath(found.path, study.out)
        links = [
            f'<a href="{quote(f"{path}/{file}")}">{file}</a>'
            for file in ("config.yaml", "metrics.jsonl", "train.log")
        ]
        files = " ".join(links)
        state = f"best epoch {found.result['best_epoch']}, {duration(found.result['seconds'])}"
    elif name in study.failed:
        state = f"failed: {study.failed[name]}"
        files = f'<a href="{quote(name)}.log">log</a>'
    else:
        state = "not trained yet"
    cells = [escape(name), analysis, escape(state), files]
    return "<tr>" + "".join(f'<td class="name reason">{cell}</td>' for cell in cells) + "</tr>"
