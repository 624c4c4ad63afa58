"""Items that nobody has interacted with yet, placed among the others by their texts alone.

An embedding that is learnt from interactions says nothing of an item without any. Its text does:

- `projector`: contrastive alignment trains a projector from texts to embeddings so that the text of
  an item points where its embedding does. A new text goes through it.
- `neighbors`: the mean embedding of the 10 items with the most similar texts. Needs no projector,
  so that every run can do it; what generative alignment trains leads the other way, from embeddings
  to texts, and has no inverse.

Either gives a direction. The length is the median of the known items', for a long vector says that
many like an item, of which a text says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import torch
from torch import Tensor
from torch.nn.functional import normalize

from rlmrec_fast import ops
from rlmrec_fast.alignment.projector import DTYPES
from rlmrec_fast.data.columns import ITEMS, choose_columns, parse_columns
from rlmrec_fast.data.entities import entity_rows
from rlmrec_fast.data.raw import BadRows, RawTable
from rlmrec_fast.data.rlmrec import read_any_vectors
from rlmrec_fast.data.vectors import check_finite, check_vectors
from rlmrec_fast.errors import DatasetError
from rlmrec_fast.serving.catalog import Catalog
from rlmrec_fast.training.checkpoint import load_tensors

if TYPE_CHECKING:
    from rlmrec_fast.data import Dataset
    from rlmrec_fast.training.inference import TrainedRun

METHODS = ("projector", "neighbors")
NEIGHBORS = 10


@dataclass(frozen=True)
class NewItems:
    """Items to place, as on the command line.

    Attributes:
        items: a table of new items, columns as `data prepare` guesses them; or None.
        columns: `ROLE=COLUMN`, which columns hold what.
        vectors: `.npy` file, row n for row n of the table; None to encode the texts as the data
            set's were.
        place: one of `METHODS`; None for the projector where there is one.
        unseen: whether the data set's own items without training interactions are placed, too.
    """

    items: Path | None = None
    columns: Sequence[str] = ()
    vectors: Path | None = None
    place: str | None = None
    unseen: bool = False

    def catalog(self, run: TrainedRun) -> Catalog:
        """The items of a run, with new ones.

        Raises:
            FileNotFoundError: a file is missing.
            DatasetError: a file is damaged, or has bad rows.
            ValueError: there are no vectors, or they do not fit.
        """
        _check_method(run, self.place)
        catalog = Catalog.of(run)
        if self.unseen:
            catalog = with_unseen_placed(run, catalog, self.place)
        if self.items is None:
            if self.vectors is not None:
                raise ValueError("--new-vectors must come with --new-items (got no table)")
            return catalog
        table = read_new_items(self.items, self.columns)
        if self.vectors is not None:
            vectors = read_any_vectors(self.vectors)
        else:
            vectors = encode_alike(run.dataset, table)
        check_vectors(vectors, table.height, "--new-vectors")
        embedding = place(run, vectors, self.place)
        return catalog.with_new(table["id"].to_list(), table["title"].to_list(), embedding)


def read_new_items(path: Path, assignments: Sequence[str] = ()) -> pl.DataFrame:
    """Reads a table of new items.

    Returns:
        `id`, `title`, `profile`, `description`, in the order of the file.

    Raises:
        FileNotFoundError: there is no such file.
        DatasetError: it is damaged, or a row is bad.
        ValueError: columns are missing.
    """
    option = "--new-columns"
    table, bad = RawTable(path), BadRows(str(path))
    (columns,) = choose_columns([table], ITEMS, parse_columns(assignments, ITEMS, option), option)
    frames = list(entity_rows(table, columns, bad))
    if bad.count:
        raise DatasetError(
            f"{path}: every row must be an item (got line {bad.first[0].line}:"
            f" {bad.first[0].reason})"
        )
    if not frames:
        raise DatasetError(f"{path}: must hold items (got no rows)")
    return pl.concat(frames)


def encode_alike(dataset: Dataset, items: pl.DataFrame) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Encodes the texts of new items as those of a data set were.

    Args:
        dataset: encoded by `rlmrec-fast encode`.
        items: columns `title`, `profile`, `description`.

    Raises:
        ValueError: the data set does not tell how its vectors were made, or that cannot be done
            again here, or a new item has no text.
    """
    from rlmrec_fast.semantic.encoders import EncoderOptions, create_encoder
    from rlmrec_fast.semantic.texts import SIDES, SideTexts

    made = dataset.encoding
    if made is None:
        raise ValueError(
            f"--new-vectors must be given, for {dataset.name} does not tell how its own vectors"
            " were made; `rlmrec-fast encode` makes ones that do (got none)"
        )
    texts = SideTexts.of("items", items, items.height)
    if texts.missing:
        missing = items["id"][texts.texts.index("")]
        raise ValueError(f"--new-items: every item must have a text (got none for {missing!r})")
    sizes = (("items", dataset.num_items), ("users", dataset.num_users))
    corpus = [
        text
        for side, rows in sizes
        for text in SideTexts.of(side, getattr(dataset, side), rows).texts
        if text
    ]
    assert tuple(side for side, _ in sizes) == SIDES
    encoder = create_encoder(made["encoder"], corpus, EncoderOptions(**_options(made["version"])))
    if encoder.version != made["version"]:
        raise ValueError(
            f"--new-vectors must be given, for {made['encoder']} is another one here"
            f" (got {encoder.version}, and the data set has vectors of {made['version']})"
        )
    return np.asarray(encoder.encode(texts.texts), np.float32)


def _options(version: str) -> dict[str, Any]:
    """What the version of an encoder tells of its options."""
    forms = {"dim": r"\bdim (\d+)", "seed": r"\bseed (\d+)", "max_tokens": r"\b(\d+) tokens"}
    found = {name: re.search(form, version) for name, form in forms.items()}
    return {name: int(match[1]) for name, match in found.items() if match}


def place(run: TrainedRun, vectors: Any, method: str | None = None) -> Tensor:
    """Embeddings for items that are known by their texts alone.

    Args:
        run: the run.
        vectors: `[n, t]`, floats, made by the encoder of the run's data set.
        method: one of `METHODS`; None for the projector where there is one.

    Returns:
        `[n, d']`, of the type of the run's embeddings.

    Raises:
        TypeError: the vectors are not an array of floats.
        ValueError: the method is unknown or not this run's, or the vectors are of another width,
            not finite, or zero.
    """
    _check_method(run, method)
    align = run.run.config.settings.align
    check_vectors(vectors, len(vectors), "new vectors")
    check_finite(vectors, "new vectors")
    zero = np.flatnonzero(~np.any(vectors, axis=1))
    if len(zero):
        raise ValueError(f"new vectors must not be zero (got a zero row, number {zero[0]})")
    text = torch.from_numpy(np.array(vectors, np.float32))
    if method == "projector" or (method is None and align == "contrastive"):
        direction = _projected(run, text)
    else:
        direction = _by_neighbors(run, text)
    length = run.item_embedding[_seen(run)].norm(dim=1).median()
    placed: Tensor = normalize(direction, dim=1) * length
    return placed


def _check_method(run: TrainedRun, method: str | None) -> None:
    if method is not None and method not in METHODS:
        raise ValueError(f"--place must be one of {', '.join(METHODS)} (got {method!r})")
    align = run.run.config.settings.align
    if method == "projector" and align != "contrastive":
        reason = {
            "generative": "its projector leads from embeddings to texts",
            "none": "it has no projector",
        }.get(align, f"of {align}")
        raise ValueError(
            f"--place projector needs a run with contrastive alignment; --place neighbors serves"
            f" every run (got {align}: {reason})"
        )


def _seen(run: TrainedRun) -> Tensor:
    """The items with training interactions."""
    rows = torch.from_numpy(np.unique(run.dataset.train.indices).astype(np.int64))
    if not len(rows):
        raise ValueError("items can only be placed among others (got no training interaction)")
    return rows


def _projected(run: TrainedRun, text: Tensor) -> Tensor:
    tensors, _ = load_tensors(run.run.best_path)
    names = ("weight1", "bias1", "weight2", "bias2")
    layers = [tensors[f"alignment.projector.{name}"] for name in names]
    _require_width(text, int(layers[0].shape[1]), "the projector was trained with")
    dtype = DTYPES[run.run.config.settings.used()["projector_dtype"]]
    return ops.project(text, *layers, dtype=dtype).float()


def _by_neighbors(run: TrainedRun, text: Tensor) -> Tensor:
    known = run.dataset.item_vectors
    if known is None:
        raise ValueError(
            f"--place neighbors needs item_vectors in {run.dataset.name} (got none);"
            " `rlmrec-fast encode` makes them"
        )
    _require_width(text, int(known.shape[1]), "the data set has")
    seen = _seen(run)
    texts = torch.from_numpy(np.array(known, np.float32))[seen]
    nearest, _ = ops.rank(normalize(text, dim=1), normalize(texts, dim=1), NEIGHBORS)
    there = (nearest >= 0)[:, :, None]
    rows = run.item_embedding[seen[nearest.clamp(min=0)]]
    return (rows * there).sum(dim=1)


def _require_width(text: Tensor, width: int, whose: str) -> None:
    if text.shape[1] != width:
        raise ValueError(
            f"new vectors must be {width} wide, as those that {whose}; one encoder must make both"
            f" (got {text.shape[1]})"
        )


def with_unseen_placed(run: TrainedRun, catalog: Catalog, method: str | None = None) -> Catalog:
    """The catalog with the data set's items without training interactions placed by their texts.

    Raises:
        ValueError: the data set has no item vectors, or see `place`.
    """
    vectors = run.dataset.item_vectors
    if vectors is None:
        raise ValueError(
            f"--place-unseen needs item_vectors in {run.dataset.name} (got none);"
            " `rlmrec-fast encode` makes them"
        )
    rows = np.setdiff1d(np.arange(run.dataset.num_items), run.dataset.train.indices)
    if not len(rows):
        return catalog
    return catalog.replaced(rows.tolist(), place(run, np.array(vectors[rows]), method))
