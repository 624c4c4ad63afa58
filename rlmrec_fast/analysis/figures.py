"""Every figure of a report, as files and for the page."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rlmrec_fast.analysis import plots, style
from rlmrec_fast.analysis.maps import METHODS
from rlmrec_fast.errors import extra

if TYPE_CHECKING:
    from rlmrec_fast.analysis.report import Report, SideResult


@dataclass(frozen=True)
class Figure:
    """One figure.

    Attributes:
        title: what it is about.
        reading: one sentence on how to read it.
        svg: the file's text.
        png: the file's bytes.
        inline: the same SVG for a page: it takes the page's font and colours of words and lines.
    """

    title: str
    reading: str
    svg: str
    png: bytes
    inline: str


def draw(report: Report) -> dict[str, Figure]:
    """Draws every figure of a report: name -> figure, such as `items-overlap`, and `map`."""
    with extra("analysis"):
        import matplotlib as mpl
        from matplotlib import pyplot as plt
    figures = {}
    backend = mpl.get_backend()
    plt.switch_backend("agg")
    try:
        for name, (title, reading, plot) in _plots(report).items():
            # The salt makes the same data give the same file.
            with mpl.rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
                figure = plot()
                figure = getattr(figure, "figure", figure)
                figures[name] = _saved(name, figure, title, reading)
                plt.close(figure)
    finally:
        plt.switch_backend(backend)
    return figures


Plots = dict[str, tuple[str, str, Callable[[], Any]]]


def _plots(report: Report) -> Plots:
    found: Plots = {}
    for side, result in report.sides.items():
        found |= _side_plots(report, side, result)
    maps = report.maps
    found["map"] = (
        f"Map of items by {METHODS[maps.method]}",
        "Every point is an item, its colour what the item's text is about: where colours stay "
        "together, the space knows the texts.",
        lambda: plots.plot_maps(maps),
    )
    return found


def _side_plots(report: Report, side: str, result: SideResult) -> Plots:
    one, looks = side.removesuffix("s"), report.subject.looks
    k = result.overlap.k
    found: Plots = {
        f"{side}-overlap": (
            f"{side.capitalize()}: neighbours shared with the texts",
            f"Higher is better: how much of {_a(one)}'s neighbourhood in the embedding is its "
            "neighbourhood by text; thin lines are 95% intervals, the dotted line is chance.",
            lambda: plots.plot_overlap(result.overlap, looks),
        ),
        f"{side}-cdf": (
            f"{side.capitalize()}: how overlap is distributed",
            f"A curve further to the right is better: at each height, that share of {side} has at "
            f"most the overlap below it ({k} neighbours).",
            lambda: plots.plot_cdf(result.overlap, looks),
        ),
        f"{side}-histogram": (
            f"{side.capitalize()}: the same as a histogram",
            f"Mass further to the right is better: each step is the share of {side} with an "
            "overlap in that range; steps hold equally many numbers of shared neighbours.",
            lambda: plots.plot_histogram(result.overlap, looks),
        ),
        f"{side}-trend": (
            f"{side.capitalize()}: alignment trend",
            "A steeper line is better: the more alike two texts are, the nearer the embeddings; "
            f"dotted is the mean over all pairs, which every point would have if the texts told "
            f"nothing about {side}.",
            lambda: plots.plot_trend(result.trend, looks),
        ),
    }
    what = f"training interactions of the {one}"
    if (groups := result.overlap_groups) is not None:
        found[f"{side}-overlap-by-degree"] = (
            f"Overlap by {_degree(side)}",
            f"From the {'rarest' if side == 'items' else 'least active'} tenth on the left to the "
            f"{'most popular' if side == 'items' else 'most active'} on the right: where lines "
            "part, alignment changes the neighbourhoods.",
            lambda: plots.plot_groups(
                groups,
                looks,
                chance=float(result.overlap.chance[-1]),
                what=what,
                measure="mean Jaccard with the texts'",
            ),
        )
    if (recall := result.recall_groups) is not None:
        found[f"{side}-recall-by-degree"] = (
            f"Recall@20 by {_degree(side)}",
            f"Who gets better recommendations: the share of test interactions of each tenth of "
            f"{side} that is found among the first 20; dotted is a random ranking.",
            lambda: plots.plot_groups(
                recall, looks, chance=result.recall_chance, what=what, measure="Recall@20"
            ),
        )
    return found


def _a(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeio" else f"a {noun}"


def _degree(side: str) -> str:
    return "popularity of items" if side == "items" else "activity of users"


def _saved(name: str, figure: Any, title: str, reading: str) -> Figure:
    buffer, png = io.StringIO(), io.BytesIO()
    figure.savefig(png, format="png", dpi=160)
    figure.set_layout_engine("none")  # all is in its place: to find it again takes long
    figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True, dpi=200)
    clear = buffer.getvalue()
    start = clear.index(">", clear.index("<svg")) + 1
    paper = '<rect width="100%" height="100%" fill="white"/>'
    svg = f"{clear[:start]}\n {paper}{clear[start:]}"
    return Figure(title, reading, svg, png.getvalue(), _inline(name, clear))


def _inline(name: str, svg: str) -> str:
    """Fits an SVG file into a page beside others: ids of its own, the page's font and colours."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(href="|url\()#', rf"\1#{name}-", svg)
    svg = svg.replace(style.INK, "var(--soft)").replace(style.GRID, "var(--line)")
    # "font: 9px 'DejaVu Sans', ..., sans-serif" keeps its size.
    svg = re.sub(r"(font: [^;\"']*?\d(?:\.\d+)?px) [^;\"]+", r"\1 var(--font)", svg)
    return re.sub(r' (?:width|height)="[\d.]+pt"', "", svg, count=2)
