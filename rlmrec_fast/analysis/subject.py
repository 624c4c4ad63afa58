"""What a report is about: tables of embeddings beside text vectors, from runs or from files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from torch import Tensor

from rlmrec_fast.analysis import style
from rlmrec_fast.analysis.groups import Found, found_in_top
from rlmrec_fast.analysis.style import Look
from rlmrec_fast.analysis.tables import Ints, Table, as_tables
from rlmrec_fast.backbones import BACKBONES
from rlmrec_fast.data import Dataset
from rlmrec_fast.data.vectors import read_vectors
from rlmrec_fast.training.inference import TrainedRun
from rlmrec_fast.training.model import ALIGNMENTS
from rlmrec_fast.training.run import RunFolder

if TYPE_CHECKING:
    import polars

SIDES = ("items", "users")

_SUFFIXES = {"none": "", "contrastive": "-Con", "generative": "-Gen"}


class Variant(NamedTuple):
    """Where a table of embeddings comes from.

    Attributes:
        model: the backbone.
        align: the alignment.
        seed: of the training.
        path: the run's folder.
    """

    model: str
    align: str
    seed: int
    path: Path


@dataclass(frozen=True, eq=False)
class Side:
    """Items or users: n rows in every table.

    Attributes:
        text: `[n, t]`.
        tables: name -> `[n, d]`.
        ids: n names that a person may give.
        titles: n short names, or excerpts of profiles.
        profiles: n texts; None where there are none at all.
        degrees: int64 `[n]`, training interactions; None where unknown.
    """

    text: Tensor
    tables: dict[str, Tensor]
    ids: list[str]
    titles: list[str]
    profiles: list[str | None] | None = None
    degrees: Ints | None = None


@dataclass(frozen=True, eq=False)
class Subject:
    """What a report is about.

    Attributes:
        title: of the report.
        sides: `items`, and `users` where their texts are known.
        bases: name -> the table that its gains are over; absent for such a table itself.
        looks: name -> how it is drawn.
        variants: name -> the run it comes from; empty for tables from files.
        dataset: what the runs were trained on; None for tables from files.
        metrics: name -> test metrics.
        found: name -> what is found of the test interactions.
        notes: what is missing, in words.
    """

    title: str
    sides: dict[str, Side]
    bases: dict[str, str]
    looks: dict[str, Look]
    variants: dict[str, Variant] = field(default_factory=dict)
    dataset: Dataset | None = None
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)
    found: dict[str, Found] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Of the tables."""
        return tuple(self.looks)


def from_runs(paths: Sequence[Path | str], data: Path | str | None = None) -> Subject:
    """Takes the best weights of runs on one data set that has text vectors.

    Args:
        paths: folders of runs, finished or not.
        data: the data set's folder, if it is not where it was in training.

    Raises:
        FileNotFoundError: there is no run, no best checkpoint yet, or no data set.
        ValueError: no run, one run twice, runs of different data, or no text vectors of items.
    """
    folders = [RunFolder.open(path) for path in paths]
    if not folders:
        raise ValueError("analyze: runs must name at least one run (got none)")
    _require_one_data_set(folders)
    dataset = Dataset.load(Path(data or folders[0].config.data.path))
    if dataset.item_vectors is None:
        raise ValueError(
            f"analyze: the data set must hold item_vectors (got none in {dataset.name})"
        )
    runs = {name: TrainedRun(folder, dataset) for name, folder in _named(_ordered(folders)).items()}
    variants = {name: _variant(run.run) for name, run in runs.items()}
    sides = {"items": _side_of(dataset, "item", runs)}
    notes: tuple[str, ...] = ()
    if dataset.user_vectors is not None:
        sides["users"] = _side_of(dataset, "user", runs)
    else:
        notes = ("The data set has no text vectors of users: this is about items alone.",)
    found, metrics = {}, {}
    if dataset.test.nnz:
        for name, run in runs.items():
            tables = run.user_embedding, run.item_embedding
            found[name] = found_in_top(*tables, dataset.train, dataset.test)
            metrics[name] = run.evaluate()
    backbones: dict[str, str] = {}
    for name, variant in variants.items():
        if variant.align == "none":
            backbones.setdefault(variant.model, name)
    return Subject(
        title=dataset.name,
        sides=sides,
        bases={
            name: backbones[variant.model]
            for name, variant in variants.items()
            if backbones.get(variant.model, name) != name
        },
        looks=style.looks_of_runs({name: (v.model, v.align) for name, v in variants.items()}),
        variants=variants,
        dataset=dataset,
        metrics=metrics,
        found=found,
        notes=notes,
    )


def from_tables(
    text: Table,
    tables: Mapping[str, Table],
    *,
    title: str = "items",
    titles: Sequence[str] | None = None,
    popularity: Ints | None = None,
) -> Subject:
    """Takes tables of embeddings from any recommender.

    Args:
        text: `[n, t]` text vectors.
        tables: name -> `[n, d]`; gains are over the first.
        title: of the report.
        titles: n short names.
        popularity: int `[n]`, training interactions.

    Raises:
        TypeError: a table is not of floats.
        ValueError: tables do not match or hold NaN or infinity.
    """
    texts, others = as_tables("analyze", text, tables)
    rows = len(texts)
    for name, values in (("titles", titles), ("popularity", popularity)):
        if values is not None and np.shape(values) != (rows,):
            raise ValueError(
                f"analyze: {name} must have {rows} rows like text (got shape {np.shape(values)})"
            )
    ids = [str(row) for row in range(rows)]
    side = Side(
        text=texts,
        tables=others,
        ids=ids,
        titles=[f"row {row}" for row in ids] if titles is None else list(titles),
        profiles=None if titles is None else list(titles),
        degrees=None if popularity is None else np.asarray(popularity, np.int64),
    )
    first, *rest = others
    notes = ["There are no test interactions: nothing is said of Recall."]
    if popularity is None:
        notes.append("No popularity was given: popular and cold rows are not told apart.")
    return Subject(
        title=title,
        sides={"items": side},
        bases=dict.fromkeys(rest, first),
        looks=style.looks(tuple(others)),
        notes=tuple(notes),
    )


def from_files(
    text: Path,
    tables: Sequence[str],
    titles: Path | None = None,
    popularity: Path | None = None,
) -> Subject:
    """Takes tables from `.npy` files.

    Args:
        text: text vectors.
        tables: `NAME=FILE` each.
        titles: a text file with one title a line.
        popularity: `.npy` of whole numbers.

    Raises:
        OSError: a file cannot be read.
        TypeError: a table is not of floats.
        ValueError: a word is not `NAME=FILE`, or what the files hold does not match.
    """
    files: dict[str, Path] = {}
    for word in tables:
        name, mark, file = word.partition("=")
        if not (mark and name.strip() and file) or name in files:
            raise ValueError(
                f"analyze: --table must be NAME=FILE, names all different (got {word})"
            )
        files[name] = Path(file)
    if not files:
        raise ValueError("analyze: --table must be given with --text, once for each table")
    counts = None if popularity is None else np.array(read_vectors(popularity))
    if counts is not None and counts.dtype.kind not in "iu":
        raise ValueError(f"analyze: --popularity must hold whole numbers (got {counts.dtype})")
    return from_tables(
        read_vectors(text),
        {name: read_vectors(file) for name, file in files.items()},
        title=text.stem,
        titles=None if titles is None else titles.read_text(encoding="utf-8").splitlines(),
        popularity=counts,
    )


def _require_one_data_set(folders: Sequence[RunFolder]) -> None:
    first = folders[0]
    for at, folder in enumerate(folders):
        if folder.path.resolve() in {other.path.resolve() for other in folders[:at]}:
            raise ValueError(f"analyze: every run must be given once (got {folder.path} twice)")
        own, other = (run.config.data.fingerprint for run in (first, folder))
        # Text vectors are known of aligned runs only; they play no part in the embeddings.
        differences = [name for name in own.differences(other) if not name.endswith("_vectors")]
        if differences:
            raise ValueError(
                f"analyze: runs must be of one data set (got {folder.path}, which differs from "
                f"{first.path} in: {', '.join(differences)})"
            )


def _ordered(folders: Sequence[RunFolder]) -> list[RunFolder]:
    """Backbones as they come; of each, the alignments as in the report's table."""
    models = list(dict.fromkeys(run.config.settings.model for run in folders))

    def place(run: RunFolder) -> tuple[int, int, int]:
        settings = run.config.settings
        return models.index(settings.model), ALIGNMENTS.index(settings.align), settings.seed

    return sorted(folders, key=place)


def _named(folders: Sequence[RunFolder]) -> dict[str, RunFolder]:
    names = [_name(run) for run in folders]
    if len(set(names)) < len(names):
        names = [
            f"{name} seed {run.config.settings.seed}" if names.count(name) > 1 else name
            for name, run in zip(names, folders, strict=True)
        ]
    if len(set(names)) < len(names):
        names = [f"{name} ({run.path})" for name, run in zip(names, folders, strict=True)]
    return dict(zip(names, folders, strict=True))


def _name(run: RunFolder) -> str:
    settings = run.config.settings
    backbone = BACKBONES.get(settings.model)
    model = settings.model if backbone is None else backbone.__name__
    return model + _SUFFIXES.get(settings.align, f"-{settings.align}")


def _variant(run: RunFolder) -> Variant:
    settings = run.config.settings
    return Variant(settings.model, settings.align, settings.seed, run.path)


def _side_of(dataset: Dataset, side: str, runs: Mapping[str, TrainedRun]) -> Side:
    embedding = f"{side}_embedding"
    # The rows are the data set's own: only what they hold remains to be checked.
    text, tables = as_tables(
        f"analyze: {side}s",
        np.asarray(getattr(dataset, f"{side}_vectors")),
        {name: getattr(run, embedding) for name, run in runs.items()},
    )
    table = getattr(dataset, f"{side}s")
    ids, titles, profiles = _words(table, len(text))
    degrees = np.asarray(dataset.train.sum(axis=0 if side == "item" else 1))
    return Side(text, tables, ids, titles, profiles, degrees.astype(np.int64).ravel())


def _words(
    table: polars.DataFrame | None, rows: int
) -> tuple[list[str], list[str], list[str | None] | None]:
    if table is None:
        ids = [str(row) for row in range(rows)]
        return ids, [f"row {row}" for row in ids], None
    ids, known, profiles = (table[column].to_list() for column in ("id", "title", "profile"))
    titles = [
        title or (shorten(profile, 120, placeholder="…") if profile else f"id {id_}")
        for id_, title, profile in zip(ids, known, profiles, strict=True)
    ]
    return ids, titles, profiles if any(profiles) else None
