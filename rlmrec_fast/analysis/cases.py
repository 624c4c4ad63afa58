"""Case studies: what single rows have for neighbours in the texts and in every table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rlmrec_fast import ops
from rlmrec_fast.analysis.overlap import Overlap
from rlmrec_fast.analysis.tables import Floats, Ints


@dataclass(frozen=True)
class Case:
    """One row and its nearest.

    Attributes:
        row: its number.
        rule: why it was chosen.
        degree: its training interactions; None where unknown.
        overlap: name of a table -> Jaccard index of all K neighbours with the texts'.
        text_neighbors: the nearest by text, best first, and whether some table has them, too.
        neighbors: name -> the nearest in that table, and whether the texts have them, too.
    """

    row: int
    rule: str
    degree: int | None
    overlap: dict[str, float]
    text_neighbors: tuple[tuple[int, bool], ...]
    neighbors: dict[str, tuple[tuple[int, bool], ...]]


def cases(
    found: Overlap,
    base: str | None = None,
    *,
    degrees: Ints | None = None,
    rows: Sequence[int] = (),
    names: Sequence[str] | None = None,
    per_rule: int = 3,
    shown: int = 10,
) -> list[Case]:
    """Chooses rows by rule and by number, and looks up their neighbours.

    Given rows come first. Then those whose neighbours in the other tables share least and most with
    the base's, those whose agreement with the texts rose and fell most from the base on, and by
    degree the most popular and the coldest. With one table only, the rows that agree least and most
    with the texts. Equals are ordered by number; no row is chosen twice.

    Args:
        found: of `overlap`.
        base: the table that the others are compared with; the first where None.
        degrees: int `[n]`, training interactions.
        rows: numbers of rows to look at, besides.
        names: the tables to look at; all of them where None.
        per_rule: how many rows for each rule.
        shown: how many neighbours.

    Raises:
        ValueError: a name or a row does not exist.
    """
    total = found.jaccard.shape[2]
    names = found.names if names is None else tuple(names)
    base = names[0] if base is None else base
    for name in (base, *names):
        if name not in found.names:
            raise ValueError(f"cases: names must be of {', '.join(found.names)} (got {name!r})")
    for row in rows:
        if not 0 <= row < total:
            raise ValueError(f"cases: rows must be in [0, {total}) (got {row})")
    chosen: dict[int, str] = dict.fromkeys(rows, "chosen")
    for rule, score in _rules(found, base, names, degrees).items():
        free = [int(row) for row in np.argsort(-score, kind="stable") if int(row) not in chosen]
        chosen.update(dict.fromkeys(free[:per_rule], rule))
    return [_case(found, row, rule, names, degrees, shown) for row, rule in chosen.items()]


def change(found: Overlap, base: str, names: Sequence[str]) -> Floats:
    """How much of a row's neighbourhood in the base others do not share: 1 - mean Jaccard, [n]."""
    kept = [
        ops.neighbor_overlap(found.neighbors[base], found.neighbors[name]).numpy()
        for name in names
        if name != base
    ]
    mean: Floats = 1 - np.mean(kept, axis=0)
    return mean


def _rules(
    found: Overlap, base: str, names: Sequence[str], degrees: Ints | None
) -> dict[str, Floats]:
    """Every rule with a score by which the highest rows are taken."""
    index = dict(zip(found.names, found.jaccard[:, -1], strict=True))
    others = [name for name in names if name != base]
    if others:
        changed = change(found, base, names)
        gained = np.mean([index[name] for name in others], axis=0) - index[base]
        rules = {
            "neighbours changed most": changed,
            "neighbours changed least": -changed,
            "agreement with texts rose most": gained,
            "agreement with texts fell most": -gained,
        }
    else:
        rules = {
            "agrees most with the texts": index[base],
            "agrees least with the texts": -index[base],
        }
    if degrees is not None:
        popular = np.asarray(degrees, np.float64)
        rules |= {"most popular": popular, "coldest": -popular}
    return rules


def _case(
    found: Overlap,
    row: int,
    rule: str,
    names: Sequence[str],
    degrees: Ints | None,
    shown: int,
) -> Case:
    by_text = found.text_neighbors[row].tolist()
    by_table = {name: found.neighbors[name][row].tolist() for name in names}
    anywhere = set().union(*by_table.values())
    return Case(
        row=row,
        rule=rule,
        degree=None if degrees is None else int(degrees[row]),
        overlap={name: found.jaccard[found.names.index(name), -1, row].item() for name in names},
        text_neighbors=tuple((near, near in anywhere) for near in by_text[:shown]),
        neighbors={
            name: tuple((near, near in by_text) for near in near_rows[:shown])
            for name, near_rows in by_table.items()
        },
    )
