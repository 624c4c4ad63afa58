"""The README's picture: how many times as fast as the usual way, and as the best alternative."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.report import Row, headline_cases

USUAL, BEST = "#0072b2", "#e69f00"  # from Okabe and Ito's palette, told apart by everyone


def draw(records: Sequence[Row], path: Path) -> None:
    """Draws the cases that have a target as pairs of bars on a logarithmic axis.

    Args:
        records: as `bench.report.read_records` gives them.
        path: an SVG or PNG file.
    """
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "rlmrec_fast"  # the same data give the same file
    from matplotlib import pyplot as plt

    cases = list(headline_cases(records))[::-1]
    figure, axes = plt.subplots(figsize=(9, 0.55 * len(cases) + 1.2))
    series = (("usual way", USUAL, 0.2, 1), ("best alternative", BEST, -0.2, 2))
    for label, colour, shift, column in series:
        ratios = [float(case[column]["ratio"]) for case in cases]
        places = [place + shift for place in range(len(cases))]
        bars = axes.barh(places, ratios, height=0.38, color=colour, label=label)
        axes.bar_label(bars, [f"{ratio:.1f}x" for ratio in ratios], padding=3, fontsize=8)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_xlim(right=axes.get_xlim()[1] * 1.6)
    axes.set_yticks(range(len(cases)), [case[3] for case in cases])
    axes.set_xlabel("times as fast: their time / ours (1 is equal)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower right", frameon=False)
    found = records[0]["environment"]
    machine = f"{found['cpu']}, {found['threads']} threads"
    if "device" in found:
        machine = str(found["device"]["name"])
    axes.set_title(f"{machine}, torch {found['torch']}", fontsize=9)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(figure)
