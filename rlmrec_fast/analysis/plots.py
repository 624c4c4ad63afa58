"""Figures of what the analysis finds: every `plot_...` draws what its namesake returns.

Each draws on given axes, or on a new figure, and returns the axes; in a notebook that shows the
figure. `looks` says the colour and dash of every table (`style.looks` by default).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy as np

from rlmrec_fast.analysis import style
from rlmrec_fast.analysis.groups import Groups
from rlmrec_fast.analysis.maps import Maps
from rlmrec_fast.analysis.overlap import Overlap
from rlmrec_fast.analysis.style import Look
from rlmrec_fast.analysis.trend import Trend
from rlmrec_fast.errors import extra

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Looks = Mapping[str, Look]
P = ParamSpec("P")
R = TypeVar("R")

SIZE = (4.7, 3.3)
MIN_PAIRS = 20
"""Bins with fewer pairs are not drawn."""


_RC: Any = {
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": style.INK,
    "axes.labelcolor": style.INK,
    "axes.titlecolor": style.INK,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": style.GRID,
    "grid.linewidth": 0.6,
    "text.color": style.INK,
    "xtick.color": style.INK,
    "ytick.color": style.INK,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.8,
}


def _styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Draws in the house's style, whatever the style of the notebook."""

    @wraps(draw)
    def styled(*words: P.args, **options: P.kwargs) -> R:
        with extra("analysis"):
            from matplotlib import pyplot as plt
        with plt.rc_context(_RC):
            return draw(*words, **options)

    return styled


@_styled
def plot_overlap(found: Overlap, looks: Looks | None = None, axes: Axes | None = None) -> Axes:
    """The mean index of every table with its interval, by the number of neighbours."""
    axes, looks = _prepare(axes, looks, found.names)
    places = np.arange(len(found.ks), dtype=float)
    width = 0.8 / len(found.names)
    for at, name in enumerate(found.names):
        shifted = places + (at - (len(found.names) - 1) / 2) * width
        error = np.abs(np.stack([found.low[at], found.high[at]]) - found.mean[at])
        axes.bar(
            shifted,
            found.mean[at],
            0.92 * width,
            color=looks[name].colour,
            hatch=None if looks[name].dash == "solid" else "///",
            label=name,
        )
        axes.errorbar(shifted, found.mean[at], error, fmt="none", ecolor=style.INK, elinewidth=1)
    for place, chance in zip(places, found.chance, strict=True):
        line = axes.hlines(
            chance, place - 0.45, place + 0.45, style.INK, "dotted", linewidth=1.5, zorder=4
        )
    line.set_label("chance")
    axes.set_xticks(places, [str(k) for k in found.ks])
    axes.set_xlabel("neighbours looked at, K")
    axes.set_ylabel("mean Jaccard with the texts'")
    axes.grid(axis="x", visible=False)
    return _legend(axes)


@_styled
def plot_cdf(
    found: Overlap, looks: Looks | None = None, axes: Axes | None = None, k: int | None = None
) -> Axes:
    """The smoothed share of rows whose index is at most x."""
    axes, looks = _prepare(axes, looks, found.names)
    curves = found.cdf(k, points=800)
    for name, y in zip(found.names, curves.y, strict=True):
        axes.plot(curves.x, y, color=looks[name].colour, linestyle=looks[name].dash, label=name)
    _chance_line(axes, found, k)
    axes.set_xlim(0, _reach(curves.x, curves.y))
    axes.set_ylim(0, 1.02)
    axes.set_xlabel(f"Jaccard of the {k or found.k} nearest with the texts'")
    axes.set_ylabel("share of rows at or below")
    return _legend(axes)


@_styled
def plot_histogram(
    found: Overlap, looks: Looks | None = None, axes: Axes | None = None, k: int | None = None
) -> Axes:
    """The step histogram of the index."""
    axes, looks = _prepare(axes, looks, found.names)
    curves = found.histogram(k)
    for name, y in zip(found.names, curves.y, strict=True):
        look = looks[name]
        axes.stairs(y, curves.x, color=look.colour, linestyle=look.dash, linewidth=1.6, label=name)
    _chance_line(axes, found, k)
    axes.set_xlim(0, _reach(curves.x[1:], curves.y.cumsum(axis=1)))
    axes.set_xlabel(f"Jaccard of the {k or found.k} nearest with the texts'")
    axes.set_ylabel("share of rows")
    return _legend(axes)


@_styled
def plot_trend(found: Trend, looks: Looks | None = None, axes: Axes | None = None) -> Axes:
    """Mean cosine in every table by cosine of the texts, with its band."""
    axes, looks = _prepare(axes, looks, found.names)
    shown = found.pairs >= min(MIN_PAIRS, found.pairs.max())
    x = found.centers[shown]
    for at, name in enumerate(found.names):
        look, mean = looks[name], found.mean[at, shown]
        axes.fill_between(
            x, found.low[at, shown], found.high[at, shown], color=look.colour, alpha=0.18, lw=0
        )
        label = f"{name}: slope {found.slope[at].value:.2f}"
        axes.plot(x, mean, marker="o", ms=3.5, color=look.colour, linestyle=look.dash, label=label)
        axes.axhline(found.overall[at], color=look.colour, linestyle="dotted", linewidth=1)
    # A band that is wide for lack of pairs must not make the lines flat.
    drawn = np.append(found.mean[:, shown].ravel(), found.overall)
    spare = 0.1 * max(float(drawn.max() - drawn.min()), 0.01)
    axes.set_ylim(drawn.min() - spare, drawn.max() + spare)
    axes.set_xlabel("cosine of the texts")
    axes.set_ylabel("mean cosine in the embedding")
    axes.set_title(found.basis, fontsize=8, loc="left", color=style.INK)
    return _legend(axes, "upper left")


@_styled
def plot_groups(
    found: Groups,
    looks: Looks | None = None,
    axes: Axes | None = None,
    *,
    chance: float | None = None,
    what: str = "training interactions",
    measure: str = "mean",
) -> Axes:
    """The mean of a measure by degree, with its interval."""
    axes, looks = _prepare(axes, looks, found.names)
    places = np.arange(len(found.labels), dtype=float)
    for at, name in enumerate(found.names):
        look = looks[name]
        shifted = places + (at - (len(found.names) - 1) / 2) * 0.12
        error = np.abs(np.stack([found.low[at], found.high[at]]) - found.mean[at])
        axes.errorbar(
            shifted,
            found.mean[at],
            error,
            fmt="o",
            ms=4,
            color=look.colour,
            linestyle=look.dash,
            elinewidth=1,
            linewidth=1.2,
            label=name,
        )
    if chance is not None:
        axes.axhline(chance, color=style.INK, linestyle="dotted", linewidth=1.5, label="chance")
    axes.set_ylim(bottom=0)
    axes.set_xticks(places, found.labels, rotation=35, ha="right")
    axes.set_xlabel(what)
    axes.set_ylabel(measure)
    return _legend(axes)


@_styled
def plot_map(found: Maps, name: str, axes: Axes | None = None) -> Axes:
    """One space in the plane, coloured by the texts' clusters."""
    if name not in found.names:
        raise ValueError(f"plot_map: name must be one of {', '.join(found.names)} (got {name!r})")
    axes, _ = _prepare(axes, {}, (), (4.2, 4.2))
    at = found.names.index(name)
    colours = np.array(style.CLUSTER_COLOURS)[
        found.clusters.labels[found.rows] % len(style.CLUSTER_COLOURS)
    ]
    x, y = found.points[at].T
    size = float(np.clip(12_000 / len(x), 1.0, 25.0))
    axes.scatter(x, y, s=size, c=list(colours), alpha=0.7, linewidths=0, rasterized=True)
    axes.set_title(f"{name}\n{separation(found, at)}", fontsize=9)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_aspect("equal", adjustable="datalim")
    axes.spines[["left", "bottom"]].set_visible(False)
    return axes


@_styled
def plot_maps(found: Maps) -> Any:
    """All spaces side by side with the clusters' names; returns the figure."""
    from matplotlib import pyplot as plt
    from matplotlib.lines import Line2D

    count = len(found.names)
    figure, grid = plt.subplots(
        1, count, figsize=(3.4 * count, 4.3), squeeze=False, layout="constrained"
    )
    for name, axes in zip(found.names, grid[0], strict=True):
        plot_map(found, name, axes)
    handles = [
        Line2D([], [], marker="o", linestyle="none", color=colour, label=label)
        for label, colour in zip(found.clusters.names, style.CLUSTER_COLOURS, strict=False)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure


def separation(found: Maps, at: int) -> str:
    """The numbers under a map."""
    return f"silhouette {found.silhouette[at]:.3f}, purity {found.purity[at]:.3f}"


def _prepare(
    axes: Axes | None,
    looks: Looks | None,
    names: tuple[str, ...],
    size: tuple[float, float] = SIZE,
) -> tuple[Axes, Looks]:
    from matplotlib import pyplot as plt

    if axes is None:
        _, axes = plt.subplots(figsize=size, layout="constrained")
    return axes, style.looks(names) if looks is None else looks


def _legend(axes: Axes, place: Any = None) -> Axes:
    """Above the axes where the names fit in one line."""
    handles, labels = axes.get_legend_handles_labels()
    # Chance, which is drawn first in places, comes last.
    order = sorted(range(len(labels)), key=lambda at: labels[at] == "chance")
    handles, labels = [handles[at] for at in order], [labels[at] for at in order]
    if place is None and sum(map(len, labels)) + 4 * len(labels) < 64:
        axes.legend(
            handles,
            labels,
            loc="lower left",
            bbox_to_anchor=(0, 1.0),
            ncols=len(labels),
            borderaxespad=0.2,
            columnspacing=1.1,
            handlelength=1.3,
            handletextpad=0.5,
        )
    else:
        axes.legend(handles, labels, loc=place or "best")
    return axes


def _chance_line(axes: Axes, found: Overlap, k: int | None) -> None:
    chance = found.chance[found.ks.index(k or found.k)]
    axes.axvline(chance, color=style.INK, linestyle="dotted", linewidth=1.5, label="chance")


def _reach(x: Any, y: Any, share: float = 0.998) -> float:
    """Where the slowest curve is all but done."""
    done = (y >= share).all(axis=0)
    return float(x[done.argmax()]) if done.any() else float(x[-1])
