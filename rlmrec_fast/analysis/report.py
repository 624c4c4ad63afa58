"""The semantic analysis of some runs as a whole: numbers, and the files they are told in."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import secrets
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rlmrec_fast.analysis.cases import Case, cases
from rlmrec_fast.analysis.groups import Groups, by_degree
from rlmrec_fast.analysis.maps import Maps, map_spaces, one_thread
from rlmrec_fast.analysis.overlap import KS, Overlap, overlap
from rlmrec_fast.analysis.overlap_table import OverlapRow, rows_of_table
from rlmrec_fast.analysis.subject import Side, Subject
from rlmrec_fast.analysis.tables import Estimate
from rlmrec_fast.analysis.trend import Trend, trend

FORMAT = "rlmrec_fast analysis 1"
CUTOFF = 20
FEATURED = 4
"""So many tables are mapped and shown in case studies."""


@dataclass(frozen=True, eq=False)
class SideResult:
    """What is found of items, or of users.

    Attributes:
        overlap: how far neighbourhoods agree.
        trend: similarity of texts against similarity in the embedding.
        overlap_groups: the overlap by degree; None where degrees are unknown.
        recall_groups: Recall@20 by degree; None without test interactions.
        recall_chance: Recall@20 of a random ranking.
        table: overlap by backbone and alignment, runs that differ in the seed averaged.
    """

    overlap: Overlap
    trend: Trend
    overlap_groups: Groups | None = None
    recall_groups: Groups | None = None
    recall_chance: float | None = None
    table: tuple[OverlapRow, ...] = ()


@dataclass(frozen=True, eq=False)
class Report:
    """All that the analysis found.

    Attributes:
        subject: what it is about.
        sides: `items`, and `users` where they are known.
        maps: of items.
        cases: of items.
        featured: the tables that are mapped and in case studies.
        seed: of all randomness.
        notes: what is missing or was not done as asked, in words.
    """

    subject: Subject
    sides: dict[str, SideResult]
    maps: Maps
    cases: list[Case]
    featured: tuple[str, ...]
    seed: int
    notes: tuple[str, ...]

    def summary(self) -> dict[str, Any]:
        """All numbers, ready for JSON; None where there is none."""
        facts: dict[str, Any] = _plain(
            {
                "format": FORMAT,
                "title": self.subject.title,
                "runs": {
                    name: variant._asdict() | {"path": str(variant.path)}
                    for name, variant in self.subject.variants.items()
                },
                "metrics": self.subject.metrics,
                "sides": {name: _side_facts(self, side) for name, side in self.sides.items()},
                "maps": {
                    "method": self.maps.method,
                    "clusters": dict(
                        zip(self.maps.clusters.names, self.maps.clusters.sizes, strict=True)
                    ),
                    "silhouette": dict(zip(self.maps.names, self.maps.silhouette, strict=True)),
                    "purity": dict(zip(self.maps.names, self.maps.purity, strict=True)),
                    "purity_by_chance": self.maps.chance,
                    "purity_neighbours": self.maps.nearest,
                },
                "cases": [
                    {
                        "id": self.subject.sides["items"].ids[case.row],
                        "row": case.row,
                        "rule": case.rule,
                        "degree": case.degree,
                        "overlap": case.overlap,
                    }
                    for case in self.cases
                ],
                "seed": self.seed,
                "notes": self.notes,
            }
        )
        return facts

    def table(self) -> list[dict[str, Any]]:
        """One row for each side, table and K."""
        rows = []
        for side, result in self.sides.items():
            found = result.overlap
            for at, name in enumerate(found.names):
                variant = self.subject.variants.get(name)
                for place, k in enumerate(found.ks):
                    mean, low, high = found.estimate(name, k)
                    gain = self.gain(side, name, k)
                    rows.append(
                        {
                            "side": side,
                            "name": name,
                            "model": variant.model if variant else None,
                            "align": variant.align if variant else None,
                            "seed": variant.seed if variant else None,
                            "k": k,
                            "overlap": mean,
                            "overlap_low": low,
                            "overlap_high": high,
                            "chance": float(found.chance[place]),
                            "gain": gain.value if gain else None,
                            "gain_low": gain.low if gain else None,
                            "gain_high": gain.high if gain else None,
                            "slope": result.trend.slope[at].value,
                            "spearman": float(result.trend.spearman[at]),
                            **(self.space(name) if side == "items" else {}),
                            **self.subject.metrics.get(name, {}),
                        }
                    )
        return rows

    def gain(self, side: str, name: str, k: int | None = None) -> Estimate | None:
        """The relative gain in overlap over the backbone; None for one, or without one."""
        base = self.subject.bases.get(name)
        return None if base is None else self.sides[side].overlap.gain(name, base, k)

    def space(self, name: str) -> dict[str, float]:
        """The separation of the texts' clusters in a table; empty where it is not mapped."""
        if name not in self.maps.names:
            return {}
        at = self.maps.names.index(name)
        return {
            "silhouette": float(self.maps.silhouette[at]),
            "purity": float(self.maps.purity[at]),
        }

    def save(self, path: Path | str, overwrite: bool = False) -> None:
        """Writes `index.html`, `summary.json`, `table.csv` and `figures/`; whole, or not at all.

        Args:
            path: the folder; missing parents are made.
            overwrite: whether to replace a report. Anything else is never replaced.

        Raises:
            FileExistsError: the path exists and `overwrite` is False, or it is not a report.
            MissingExtraError: matplotlib or jinja2 is not installed.
        """
        from rlmrec_fast.analysis.figures import draw
        from rlmrec_fast.analysis.page import render

        path = Path(path).resolve()
        check_place(path, overwrite)
        path.parent.mkdir(parents=True, exist_ok=True)
        mark = f"{os.getpid()}-{secrets.token_hex(4)}"
        aside = path.with_name(f".{path.name}.{mark}.new")
        (aside / "figures").mkdir(parents=True)
        try:
            figures = draw(self)
            for name, figure in figures.items():
                (aside / "figures" / f"{name}.svg").write_text(figure.svg, encoding="utf-8")
                (aside / "figures" / f"{name}.png").write_bytes(figure.png)
            (aside / "index.html").write_text(render(self, figures), encoding="utf-8")
            (aside / "table.csv").write_text(self._csv(), encoding="utf-8")
            summary = json.dumps(self.summary(), indent=1, ensure_ascii=False, allow_nan=False)
            (aside / "summary.json").write_text(summary + "\n", encoding="utf-8")
            old = path.with_name(f".{path.name}.{mark}.old")
            if path.exists():
                os.replace(path, old)
            os.replace(aside, path)
            shutil.rmtree(old, ignore_errors=True)
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def _csv(self) -> str:
        rows = self.table()
        columns = list(dict.fromkeys(column for row in rows for column in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(
            {name: "" if _missing(value) else value for name, value in row.items()} for row in rows
        )
        return text.getvalue()


def check_place(path: Path, overwrite: bool) -> None:
    """Checks, before the work is done, that a report may be written to a path.

    Raises:
        FileExistsError: it holds something, and that may not be replaced.
    """
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if not overwrite:
        raise FileExistsError(f"analyze: {path} must not exist, unless --overwrite is given")
    try:
        ours = json.loads((path / "summary.json").read_text(encoding="utf-8"))["format"]
    except (OSError, ValueError, KeyError, TypeError):
        ours = ""
    if not str(ours).startswith("rlmrec_fast analysis"):
        raise FileExistsError(f"analyze: only a report may be overwritten (got {path})")


def analyze(
    subject: Subject,
    *,
    ks: Sequence[int] = KS,
    method: str = "umap",
    clusters: int = 5,
    items: Sequence[str] = (),
    seed: int = 0,
    progress: Callable[[str], None] = lambda _: None,
) -> Report:
    """Makes the whole analysis.

    Args:
        subject: of `from_runs` or `from_tables`.
        ks: how many neighbours to look at; every figure is about the most.
        method: of the maps: `umap`, `pca` or `pacmap`.
        clusters: how many the texts are put in.
        items: ids of items to make case studies of, besides those chosen by rule.
        seed: decides all randomness.
        progress: is told what comes next.

    Raises:
        MissingExtraError: the method's library is not installed.
        ValueError: an argument is out of range, or an id is unknown.
    """
    chosen = _rows_of(subject.sides["items"], items)
    sides, notes = {}, list(subject.notes)
    for name, side in subject.sides.items():
        progress(f"neighbours of {len(side.text):,} {name}")
        sides[name] = _analyze_side(subject, name, side, ks, seed, progress)
        notes += [f"{name}: {note}" for note in sides[name].overlap.notes]
        empty = int((~side.text.bool().any(dim=1)).sum())
        if empty:
            notes.append(f"{name}: {empty} text vectors are zero; they have no true neighbours.")
    featured = _featured(subject)
    if len(featured) < len(subject.names):
        notes.append(f"Maps and case studies are of {', '.join(featured)}.")
    items_side = subject.sides["items"]
    progress(f"maps by {method}")
    maps = map_spaces(
        items_side.text,
        {name: items_side.tables[name] for name in featured},
        items_side.profiles,
        method=method,
        clusters=clusters,
        seed=seed,
    )
    if len(maps.rows) < len(items_side.text):
        notes.append(
            f"Maps draw a seeded sample of {len(maps.rows):,} of {len(items_side.text):,}."
        )
    base = next((name for name in featured if name not in subject.bases), featured[0])
    return Report(
        subject=subject,
        sides=sides,
        maps=maps,
        cases=cases(
            sides["items"].overlap, base, degrees=items_side.degrees, rows=chosen, names=featured
        ),
        featured=featured,
        seed=seed,
        notes=tuple(notes),
    )


def _analyze_side(
    subject: Subject,
    name: str,
    side: Side,
    ks: Sequence[int],
    seed: int,
    progress: Callable[[str], None],
) -> SideResult:
    found = overlap(side.text, side.tables, ks, seed=seed)
    progress(f"pairs of {name}")
    with one_thread():
        slopes = trend(side.text, side.tables, seed=seed)
    groups = recall = None
    if side.degrees is not None:
        index = dict(zip(found.names, found.jaccard[:, -1], strict=True))
        groups = by_degree(index, side.degrees)
        if subject.found:
            recall = by_degree(
                {table: getattr(hits, name) for table, hits in subject.found.items()},
                side.degrees,
                weights=next(iter(subject.found.values())).held_out_of_items
                if name == "items"
                else None,
            )
    return SideResult(
        overlap=found,
        trend=slopes,
        overlap_groups=groups,
        recall_groups=recall,
        recall_chance=_recall_by_chance(subject, name) if recall else None,
        table=rows_of_table(
            (variant.model, variant.align, found.estimate(table).value)
            for table, variant in subject.variants.items()
        ),
    )


def _recall_by_chance(subject: Subject, side: str) -> float:
    """Recall@20 of a random ranking of what a user does not have yet."""
    dataset = subject.dataset
    assert dataset is not None
    left = dataset.num_items - np.diff(dataset.train.indptr)
    held_out = np.diff(dataset.test.indptr)
    share = np.minimum(1.0, CUTOFF / np.maximum(left, 1))
    weights = held_out if side == "items" else held_out > 0
    return float(np.average(share, weights=weights))


def _rows_of(side: Side, items: Sequence[str]) -> list[int]:
    rows = []
    for item in items:
        if item not in side.ids:
            examples = ", ".join(repr(known) for known in side.ids[:3])
            raise ValueError(f"analyze: --item must be an id, such as {examples} (got {item!r})")
        rows.append(side.ids.index(item))
    return rows


def _featured(subject: Subject) -> tuple[str, ...]:
    """All tables where they are few, else those of the first backbone."""
    names = subject.names
    if len(names) > FEATURED and subject.variants:
        first = subject.variants[names[0]].model
        names = tuple(name for name in names if subject.variants[name].model == first)
    return names[:FEATURED]


def _side_facts(report: Report, side: SideResult) -> dict[str, Any]:
    name = next(name for name, other in report.sides.items() if other is side)
    found, slopes = side.overlap, side.trend
    gains = {table: report.gain(name, table) for table in found.names}
    return {
        "rows": found.jaccard.shape[2],
        "k": found.k,
        "overlap": {
            table: {str(k): found.estimate(table, k)._asdict() for k in found.ks}
            for table in found.names
        },
        "chance": dict(zip(map(str, found.ks), found.chance, strict=True)),
        "gain": {table: gain._asdict() for table, gain in gains.items() if gain},
        "trend": {
            "pairs": slopes.basis,
            "slope": {
                table: slope._asdict()
                for table, slope in zip(slopes.names, slopes.slope, strict=True)
            },
            "spearman": dict(zip(slopes.names, slopes.spearman, strict=True)),
            "overall": dict(zip(slopes.names, slopes.overall, strict=True)),
            "edges": slopes.edges,
            "counts": slopes.pairs,
            "mean": dict(zip(slopes.names, slopes.mean, strict=True)),
        },
        "by_degree": {
            measure: None
            if groups is None
            else {
                "degrees": groups.labels,
                "sizes": groups.sizes,
                "mean": dict(zip(groups.names, groups.mean, strict=True)),
            }
            for measure, groups in (
                ("overlap", side.overlap_groups),
                (f"recall@{CUTOFF}", side.recall_groups),
            )
        },
        "recall_by_chance": side.recall_chance,
        "by_backbone": [
            {"model": row.model, "overlap": row.overlap, "runs": row.runs} for row in side.table
        ],
    }


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and not math.isfinite(value))


def _plain(value: Any) -> Any:
    """What JSON can hold; numbers that are none become None."""
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    return None if _missing(value) else value
