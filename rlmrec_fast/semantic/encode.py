"""From the texts of a data set to its text vectors."""

from __future__ import annotations

import shutil
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from rlmrec_fast.data.dataset import MANIFEST, Dataset
from rlmrec_fast.data.folder import check_place
from rlmrec_fast.data.vectors import Vectors, vector_faults
from rlmrec_fast.semantic.encoders import Encoder, EncoderOptions, create_encoder
from rlmrec_fast.semantic.parallel import in_parallel
from rlmrec_fast.semantic.progress import progress
from rlmrec_fast.semantic.texts import SIDES, SideTexts
from rlmrec_fast.semantic.vector_store import VectorStore

BLOCK = 128
"""Texts that are encoded, and written, together."""

DTYPES = ("float32", "float16")


@dataclass(frozen=True)
class EncodeRequest:
    """What `encode` is asked for.

    Attributes:
        data: The data set's folder.
        encoder: The encoder's name.
        out: Where to write; the data set itself if None.
        options: What the encoder is told.
        dtype: `float32` or `float16`, how vectors are stored.
        users_from_items: Whether users without text get the mean of their items' vectors.
        allow_zero_vectors: Whether a vector may be zero, as that of a missing text is.
        overwrite: Whether to replace vectors, or a data set, that are there.
    """

    data: Path
    encoder: str = "lsa"
    out: Path | None = None
    options: EncoderOptions = field(default_factory=EncoderOptions)
    dtype: str = "float32"
    users_from_items: bool = False
    allow_zero_vectors: bool = False
    overwrite: bool = False


@dataclass(frozen=True)
class SideReport:
    """What became of one side.

    Attributes:
        rows: Items or users.
        texts: How many have a text.
        described: How many of these texts are titles and descriptions, for want of a profile.
        from_items: How many got the mean of their items' vectors.
        zero: How many vectors are zero.
        encoded: How many texts were encoded now, and not by an earlier run.
    """

    rows: int
    texts: int
    described: int
    from_items: int
    zero: int
    encoded: int


@dataclass(frozen=True)
class EncodeReport:
    """What `encode` did.

    Attributes:
        out: The data set with the vectors.
        encoding: How they were made.
        dim: Their size.
        items: What became of the items.
        users: And of the users.
        seconds: How long it took.
    """

    out: str
    encoding: dict[str, str]
    dim: int
    items: SideReport
    users: SideReport
    seconds: float

    def facts(self) -> dict[str, Any]:
        """The report for JSON."""
        return asdict(self)


def encode(request: EncodeRequest) -> EncodeReport:
    """Encodes the texts of a data set and writes the data set with their vectors.

    A run that was killed goes on where it was; one that is finished does nothing.

    Raises:
        FileNotFoundError: There is no such data set.
        FileExistsError: There are vectors, or there is another data set, and `overwrite` is False.
        ValueError: An argument is wrong, or texts are missing.
        MissingExtraError: The encoder needs a package that is not installed.
    """
    start = time.monotonic()
    if request.dtype not in DTYPES:
        raise ValueError(f"encode: dtype must be {' or '.join(DTYPES)} (got {request.dtype!r})")
    dataset = Dataset.load(request.data)
    out = _place(request).resolve()
    texts = {
        side: SideTexts.of(side, getattr(dataset, side), rows)
        for side, rows in zip(SIDES, (dataset.num_items, dataset.num_users), strict=True)
    }
    _require_texts(dataset, texts, request)
    corpus = [text for side in SIDES for text in texts[side].texts if text]
    encoder = create_encoder(request.encoder, corpus, request.options)
    encoding = _encoding(request, encoder, texts)
    work = out.with_name(f".{out.name}.encoding")
    finished = _finished(dataset, out, encoding)
    if finished is None:
        _require_place(request, dataset, out)
        tables, encoded = _encode_all(dataset, encoder, encoding, texts, work, request)
        finished = replace(
            dataset,
            user_vectors=tables["users"],
            item_vectors=tables["items"],
            encoding=encoding,
        )
        _require_directions(finished, request)
        finished.save(out, overwrite=out.exists())
    else:
        encoded = dict.fromkeys(SIDES, 0)
    report = _report(finished, out, texts, encoded, time.monotonic() - start)
    shutil.rmtree(work, ignore_errors=True)
    return report


def _place(request: EncodeRequest) -> Path:
    if request.out is not None:
        return request.out
    if not (request.data / MANIFEST).is_file():
        raise ValueError(
            f"encode: --out must name a folder to write, for {request.data} is RLMRec's own, which"
            " stays as it is (got nothing)"
        )
    return request.data


def _require_place(request: EncodeRequest, dataset: Dataset, out: Path) -> None:
    """Refuses to replace anything unasked, before the work is done."""
    if out != request.data.resolve():
        check_place(out, request.overwrite)
    elif not request.overwrite and (
        dataset.user_vectors is not None or dataset.item_vectors is not None
    ):
        made = (dataset.encoding or {}).get("encoder", "an unknown encoder")
        raise FileExistsError(
            f"encode: {request.data} must not have vectors (got those of {made}); --overwrite"
            " replaces them, --out FOLDER leaves them alone"
        )


def _require_texts(dataset: Dataset, texts: dict[str, SideTexts], request: EncodeRequest) -> None:
    if not len(texts["items"].present):
        raise ValueError(
            f"encode: the items of {dataset.name} must have texts (got none); `rlmrec-fast profile"
            f" {request.data}` has a language model write them"
        )
    if request.allow_zero_vectors:
        return
    cures = {
        "items": "--allow-zero-vectors gives them zero vectors",
        "users": "--users-from-items gives them the mean of their items' vectors",
    }
    for side, cure in cures.items():
        if texts[side].missing and not (side == "users" and request.users_from_items):
            raise ValueError(
                f"encode: all {side} of {dataset.name} must have texts (got none for"
                f" {texts[side].missing:,} of {len(texts[side].texts):,}); {cure}, `rlmrec-fast"
                f" profile {request.data}` writes them"
            )


def _encoding(
    request: EncodeRequest, encoder: Encoder, texts: dict[str, SideTexts]
) -> dict[str, str]:
    """All that decides the vectors, beside the interactions."""
    return {
        "encoder": encoder.name,
        "version": encoder.version,
        "dtype": request.dtype,
        "items": texts["items"].digest,
        "users": texts["users"].digest,
        "users_from_items": "yes" if request.users_from_items else "no",
    }


def _finished(dataset: Dataset, out: Path, encoding: dict[str, str]) -> Dataset | None:
    """What was written by an earlier run with the same request, if it is there."""
    if not (out / MANIFEST).is_file():
        return None
    found = Dataset.load(out)
    same = found.encoding == encoding and all(
        getattr(found, split).shape == getattr(dataset, split).shape
        and (getattr(found, split) != getattr(dataset, split)).nnz == 0
        for split in ("train", "validation", "test")
    )
    return found if same else None


def _encode_all(
    dataset: Dataset,
    encoder: Encoder,
    encoding: dict[str, str],
    texts: dict[str, SideTexts],
    work: Path,
    request: EncodeRequest,
) -> tuple[dict[str, Vectors], dict[str, int]]:
    identity = {**encoding, "block": BLOCK}
    # The mean over items comes last, whatever the texts are.
    del identity["users_from_items"]
    tables, encoded = {}, {}
    for side in SIDES:
        own = texts[side]
        path = work / f"{side}.npy"
        with VectorStore(path, len(own.texts), request.dtype, {**identity, "side": side}) as store:
            encoded[side] = _fill(store, encoder, own)
            if len(own.present):
                tables[side] = store.read()
    if "users" not in tables:
        width = tables["items"].shape[1]
        tables["users"] = np.zeros((dataset.num_users, width), request.dtype)
    if request.users_from_items and texts["users"].missing:
        tables["users"] = with_item_means(tables["users"], tables["items"], dataset, texts["users"])
    return tables, encoded


def _fill(store: VectorStore, encoder: Encoder, texts: SideTexts) -> int:
    """Encodes the blocks that are not there yet; returns how many texts that was."""
    starts = range(0, len(texts.present), BLOCK)
    rows = {n: texts.present[start : start + BLOCK] for n, start in enumerate(starts)}
    todo = [block for block in rows if block not in store.done]
    left = sum(len(rows[block]) for block in todo)
    total = len(texts.present)
    with progress(f"encoding {texts.side}", total, total - left) as advance:

        def work(block: int) -> None:
            store.put(block, rows[block], encoder.encode([texts.texts[row] for row in rows[block]]))

        for block, _ in in_parallel(work, todo, encoder.workers):
            advance(len(rows[block]))
    return left


def with_item_means(users: Vectors, items: Vectors, dataset: Dataset, texts: SideTexts) -> Vectors:
    """The users' vectors, where a user without text has the mean of its training items' vectors.

    Args:
        users: `[U, t]`.
        items: `[I, t]`.
        dataset: Has the training interactions; a user without any gets a zero vector.
        texts: The users' texts.

    Returns:
        A new table of the users' shape and type.
    """
    result, items = np.array(users), np.asarray(items, np.float64)
    missing = np.setdiff1d(np.arange(dataset.num_users), texts.present)
    for start in range(0, len(missing), 4096):
        rows = missing[start : start + 4096]
        taken = dataset.train[rows].astype(np.float64)
        degree = np.maximum(np.diff(taken.indptr), 1)[:, None]
        result[rows] = (taken @ items) / degree
    return result


def _require_directions(dataset: Dataset, request: EncodeRequest) -> None:
    """Refuses vectors that an alignment would refuse, the work so far being kept."""
    if request.allow_zero_vectors:
        return
    for side in SIDES:
        zeros = vector_faults(getattr(dataset, f"{side.removesuffix('s')}_vectors")).zero_rows
        if zeros:
            raise ValueError(
                f"encode: no vector must be zero (got {zeros:,} {side} whose text has no known"
                " word or, by the mean, no training item); --allow-zero-vectors accepts them"
            )


def _report(
    dataset: Dataset,
    out: Path,
    texts: dict[str, SideTexts],
    encoded: dict[str, int],
    seconds: float,
) -> EncodeReport:
    encoding = dict(dataset.encoding or {})
    sides = {}
    for side in SIDES:
        vectors = getattr(dataset, f"{side.removesuffix('s')}_vectors")
        own = texts[side]
        zero = vector_faults(vectors).zero_rows
        means = side == "users" and encoding["users_from_items"] == "yes"
        sides[side] = SideReport(
            rows=len(own.texts),
            texts=len(own.present),
            described=own.described,
            from_items=own.missing if means else 0,
            zero=zero,
            encoded=encoded[side],
        )
    dim = int(vectors.shape[1])
    return EncodeReport(str(out), encoding, dim, seconds=seconds, **sides)
