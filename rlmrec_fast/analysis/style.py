"""How tables look in every figure and on the page: one colour and one dash for each, everywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

# Okabe and Ito's palette, told apart by everyone, and at least 3:1 against both white and black.
TEXT_COLOUR = "#808080"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#7f6fd6")
CLUSTER_COLOURS = ("#4477aa", "#ee6677", "#228833", "#b8a520", "#aa3377", "#55bbdd", "#888888")
"""Paul Tol's bright palette, its yellow darkened to be seen on white."""
ALIGNMENT_COLOURS = dict(zip(("none", "contrastive", "generative"), COLOURS, strict=False))
DASHES = (
    "solid",
    (0, (5, 2)),
    (0, (1.5, 1.5)),
    (0, (5, 2, 1.5, 2)),
    (0, (8, 2)),
    (0, (3, 1, 1, 1)),
)

INK, GRID = "#4b5563", "#d1d5db"
"""Of words and lines; figures on the page take the page's instead."""


class Look(NamedTuple):
    """How one table is drawn.

    Attributes:
        colour: `#rrggbb`.
        dash: matplotlib's line style.
    """

    colour: str
    dash: str | tuple[int, tuple[float, ...]]


def looks(names: Sequence[str]) -> dict[str, Look]:
    """The look of tables that are told apart by name alone."""
    return {
        name: Look(COLOURS[at % len(COLOURS)], DASHES[at // len(COLOURS) % len(DASHES)])
        for at, name in enumerate(names)
    }


def looks_of_runs(runs: Mapping[str, tuple[str, str]]) -> dict[str, Look]:
    """The look of runs: the colour says the alignment, the dash the backbone.

    Args:
        runs: name -> (model, alignment).
    """
    models = list(dict.fromkeys(model for model, _ in runs.values()))
    return {
        name: Look(
            ALIGNMENT_COLOURS.get(align, COLOURS[3]), DASHES[models.index(model) % len(DASHES)]
        )
        for name, (model, align) in runs.items()
    }
