"""The report as one page: `index.html` needs nothing but itself."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import numpy as np

from rlmrec_fast._version import __version__
from rlmrec_fast.analysis import style
from rlmrec_fast.analysis.cases import Case
from rlmrec_fast.analysis.figures import Figure
from rlmrec_fast.analysis.maps import METHODS, TEXTS
from rlmrec_fast.errors import extra

if TYPE_CHECKING:
    from rlmrec_fast.analysis.report import Report

TEMPLATES = Path(__file__).parent / "templates"

_ALIGNMENTS = {"contrastive": "Contrastive", "generative": "Generative"}


@dataclass(frozen=True)
class Cell:
    """One cell of the overview.

    Attributes:
        text: what is shown.
        value: what is sorted by; None comes last.
        note: in small letters below.
    """

    text: str
    value: float | None = None
    note: str = ""


def render(report: Report, figures: Mapping[str, Figure]) -> str:
    """The page's HTML.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    with extra("analysis"):
        import jinja2
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    columns, rows = _overview(report)
    return environment.get_template("page.html").render(
        title=report.subject.title,
        facts=_facts(report),
        answers=answers(report),
        tables=_chips(report),
        columns=columns,
        rows=rows,
        backbones=_backbones(report),
        figures=figures,
        sides=list(report.sides),
        maps=report.maps,
        method=METHODS[report.maps.method],
        map_data=_json(_map_data(report)),
        cluster_colours=style.CLUSTER_COLOURS,
        spaces=_spaces(report),
        cases=[_case(report, case) for case in report.cases],
        k=report.sides["items"].overlap.k,
        notes=report.notes,
        basis={name: side.trend.basis for name, side in report.sides.items()},
        version=__version__,
        style=(TEMPLATES / "page.css").read_text(encoding="utf-8"),
        script=(TEMPLATES / "page.js").read_text(encoding="utf-8"),
    )


def _facts(report: Report) -> list[str]:
    dataset = report.subject.dataset
    if dataset is None:
        return [f"{len(report.subject.sides['items'].text):,} rows"]
    return [
        f"{dataset.num_users:,} users",
        f"{dataset.num_items:,} items",
        f"{dataset.train.nnz:,} training interactions",
    ]


def answers(report: Report) -> list[str]:
    """What the figures come to, a sentence for each table with something to compare with."""
    found = report.sides["items"].overlap
    chance = float(found.chance[-1])
    sentences = []
    for name in found.names:
        base = report.subject.bases.get(name)
        gain = report.gain("items", name)
        if base is None or gain is None:
            continue
        before, after = found.estimate(base).value, found.estimate(name).value
        variant = report.subject.variants.get(name)
        subject = f"{_ALIGNMENTS[variant.align]} alignment" if variant else name
        moves = "raises" if gain.value >= 0 else "lowers"
        ends = sorted(abs(end) for end in gain[1:]) if gain.low * gain.high > 0 else gain[1:]
        sentences.append(
            f"{subject} {moves} the overlap of items' neighbours with their neighbours by text "
            f"from {before:.3f} ({base}) to {after:.3f}, by {abs(gain.value):.0%} "
            f"(95% interval {ends[0]:.0%} to {ends[1]:.0%})."
        )
    if not sentences:
        sentences = [
            f"{name}: the overlap of items' neighbours with their neighbours by text is "
            f"{found.estimate(name).value:.3f}."
            for name in found.names
        ]
    return [*sentences, f"Chance alone would give {chance:.3f}."]


def _chips(report: Report) -> list[dict[str, str]]:
    # A dash that CSS can draw stands for every line that is not whole.
    return [
        {
            "name": name,
            "colour": look.colour,
            "line": "solid" if look.dash == "solid" else "dashed",
        }
        for name, look in report.subject.looks.items()
    ]


def _overview(report: Report) -> tuple[list[str], list[list[Cell]]]:
    sides = report.sides
    found = sides["items"].overlap
    columns = ["overlap, items", "gain", "times chance"]
    columns += ["overlap, users", "gain, users"] if "users" in sides else []
    columns += ["slope", "Spearman", "silhouette", "purity"]
    columns += ["Recall@20"] if report.subject.metrics else []
    rows = []
    for at, name in enumerate(found.names):
        row = [*_overlap_cells(report, "items", name)]
        ratio = found.estimate(name).value / float(found.chance[-1])
        row.append(Cell(f"{ratio:.1f}", ratio))
        if "users" in sides:
            row += _overlap_cells(report, "users", name)
        trend = sides["items"].trend
        row.append(_number(trend.slope[at].value, "+.2f"))
        row.append(_number(float(trend.spearman[at]), "+.3f"))
        space = report.space(name)
        row += [_number(space.get(key), ".3f") for key in ("silhouette", "purity")]
        if report.subject.metrics:
            row.append(_number(report.subject.metrics[name]["recall@20"], ".4f"))
        rows.append([Cell(name), *row])
    # What no row knows needs no column.
    known = [any(row[at + 1].text for row in rows) for at in range(len(columns))]
    return (
        [column for column, kept in zip(columns, known, strict=True) if kept],
        [
            [row[0], *(cell for cell, kept in zip(row[1:], known, strict=True) if kept)]
            for row in rows
        ],
    )


def _overlap_cells(report: Report, side: str, name: str) -> list[Cell]:
    value, low, high = report.sides[side].overlap.estimate(name)
    gain = report.gain(side, name)
    reach = Cell(f"{value:.4f}", value, f"{low:.4f} to {high:.4f}")
    if gain is None:
        return [reach, Cell("")]
    return [reach, Cell(f"{gain.value:+.1%}", gain.value, f"{gain.low:+.0%} to {gain.high:+.0%}")]


def _number(value: float | None, form: str) -> Cell:
    return Cell("") if value is None or np.isnan(value) else Cell(format(value, form), value)


def _backbones(report: Report) -> list[dict[str, Any]]:
    """Table 1 of the report, where there is more to it than the overview has."""
    rows = report.sides["items"].table
    seeds = any(count > 1 for row in rows for count in row.runs.values())
    if not seeds and (len(rows) < 2 or all(len(row.overlap) < 2 for row in rows)):
        return []
    return [
        {
            "model": row.model,
            "overlap": {align: f"{value:.4f}" for align, value in row.overlap.items()},
            "gain": {
                align: f"{gain:+.1%}"
                for align in _ALIGNMENTS
                if (gain := row.gain(align)) is not None
            },
            "runs": row.runs,
        }
        for row in rows
    ]


def _spaces(report: Report) -> list[dict[str, Any]]:
    maps = report.maps
    looks = report.subject.looks
    return [
        {
            "name": name,
            "colour": looks[name].colour if name in looks else style.TEXT_COLOUR,
            "silhouette": f"{maps.silhouette[at]:.3f}",
            "purity": f"{maps.purity[at]:.3f}",
            "texts": name == TEXTS,
        }
        for at, name in enumerate(maps.names)
    ]


def _map_data(report: Report) -> dict[str, Any]:
    """Places on a grid of 4096 x 4096, labels and titles of the rows that are drawn."""
    maps, side = report.maps, report.subject.sides["items"]
    points = maps.points - maps.points.min(axis=1, keepdims=True)
    size = points.max(axis=(1, 2), keepdims=True)
    spare = size - points.max(axis=1, keepdims=True)
    places = np.rint((points + spare / 2) / np.where(size > 0, size, 1) * 4095)
    near = report.sides["items"].overlap.text_neighbors[:, :10].numpy()
    index = np.full(len(side.text), -1)
    index[maps.rows] = np.arange(len(maps.rows))
    return {
        "spaces": list(maps.names),
        "points": [_packed(place.astype("<u2")) for place in places],
        "labels": _packed(maps.clusters.labels[maps.rows].astype("<u1")),
        "near": _packed(index[near[maps.rows]].astype("<i4")),
        "nearest": near.shape[1],
        "titles": [shorten(side.titles[row], 90, placeholder="…") for row in maps.rows],
        "clusters": list(maps.clusters.names),
        "colours": list(style.CLUSTER_COLOURS),
    }


def _packed(values: Any) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode("ascii")


def _json(value: Any) -> str:
    # Inside a script element nothing may look like the end of one.
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def _case(report: Report, case: Case) -> dict[str, Any]:
    side, looks = report.subject.sides["items"], report.subject.looks

    def entry(row: int, shared: bool) -> dict[str, Any]:
        return {"row": row, "id": side.ids[row], "shared": shared, **_words(report, row, 130)}

    label = int(report.maps.clusters.labels[case.row])
    columns = [
        {
            "name": name,
            "colour": looks[name].colour if name in looks else style.TEXT_COLOUR,
            "overlap": f"{case.overlap[name]:.3f}" if name in case.overlap else "",
            "items": [entry(*near) for near in neighbors],
        }
        for name, neighbors in {TEXTS: case.text_neighbors, **case.neighbors}.items()
    ]
    return {
        "row": case.row,
        "id": side.ids[case.row],
        "rule": case.rule,
        "degree": case.degree,
        "cluster": report.maps.clusters.names[label],
        "cluster_colour": style.CLUSTER_COLOURS[label % len(style.CLUSTER_COLOURS)],
        "columns": columns,
        **_words(report, case.row, 420),
    }


def _words(report: Report, row: int, most: int) -> dict[str, str]:
    """A row's title and profile, or an excerpt of the profile where there is no title."""
    side = report.subject.sides["items"]
    title = side.titles[row]
    profile = (side.profiles[row] if side.profiles else None) or ""
    if profile.startswith(title.rstrip("…")):
        title = "" if title.endswith("…") or profile == title else title
    return {"title": title, "profile": shorten(profile, most, placeholder="…")}
