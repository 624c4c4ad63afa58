"""The data set folder: matrices in `.npz`, vectors in `.npy`, texts in Parquet, one manifest.

    dataset.json        format version, name, sizes, every file with its shape and type, source
    train.npz           U x I in scipy's CSR form; so validation.npz and test.npz
    user_vectors.npy    U x t text vectors, optional; so item_vectors.npy
    users.parquet       columns id, title, profile, description; row n is user n; optional;
                        so items.parquet

Nothing in it is a pickle. The manifest is written last and lists what belongs to the data set.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, ValidationError

from rlmrec_fast.data.dataset import MANIFEST, Dataset, files_in
from rlmrec_fast.data.matrices import SPLITS, read_matrix, write_matrix
from rlmrec_fast.data.tables import read_table, write_table
from rlmrec_fast.data.vectors import check_finite, read_vectors
from rlmrec_fast.errors import DatasetError

FORMAT_VERSION = 1

NOTES = ("prepare.json", "download.json")
"""Files beside a data set's own that say how it was made."""

_MATRICES = {split: f"{split}.npz" for split in SPLITS}
_VECTORS = {name: f"{name}.npy" for name in ("user_vectors", "item_vectors")}
_TABLES = {name: f"{name}.parquet" for name in ("users", "items")}
_READERS: dict[str, Callable[[Path], Any]] = {
    **dict.fromkeys(_MATRICES.values(), read_matrix),
    **dict.fromkeys(_VECTORS.values(), read_vectors),
    **dict.fromkeys(_TABLES.values(), read_table),
}
_FILES = {**_MATRICES, **_VECTORS, **_TABLES}


class FileEntry(BaseModel):
    """What the manifest says of one file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    shape: tuple[NonNegativeInt, NonNegativeInt]
    dtype: str | None = None  # None for a table, whose columns are all text
    interactions: NonNegativeInt | None = None  # None for everything but a matrix


class Manifest(BaseModel):
    """The content of `dataset.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format_version: int = FORMAT_VERSION
    name: str = Field(min_length=1)
    num_users: PositiveInt
    num_items: PositiveInt
    files: dict[str, FileEntry]
    source: str = ""
    encoding: dict[str, str] | None = None


def write_folder(
    dataset: Dataset, path: Path, overwrite: bool, notes: Mapping[str, str] | None = None
) -> None:
    """Writes a data set folder aside and renames it; see `Dataset.save`.

    Args:
        dataset: the data set.
        path: the folder.
        overwrite: whether to replace a data set folder.
        notes: name -> content of text files to put beside the data set's own.
    """
    # A link to a folder stays a link.
    path = path.resolve()
    check_place(path, overwrite)
    for name in _VECTORS:
        vectors = getattr(dataset, name)
        if vectors is not None:
            check_finite(vectors, name)
    with folder_beside(path) as aside:
        for name, text in (notes or {}).items():
            (aside / name).write_text(text, encoding="utf-8")
        _write_files(dataset, aside)
        _keep_notes(path, aside)
        _put_in_place(aside, path, aside.with_suffix(".old"))


def _keep_notes(path: Path, aside: Path) -> None:
    """Keeps what is noted of a data set's making when only its texts or vectors are replaced."""
    train = _MATRICES["train"]
    old, new = path / train, aside / train
    if not old.is_file() or old.read_bytes() != new.read_bytes():
        return
    for name in NOTES:
        if (path / name).is_file() and not (aside / name).exists():
            shutil.copyfile(path / name, aside / name)


@contextmanager
def folder_beside(path: Path) -> Iterator[Path]:
    """Makes a new folder beside a path, on the same disk, and deletes it in the end.

    What killed processes left there is deleted first.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path)
    aside = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.new")
    aside.mkdir()
    try:
        yield aside
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _sweep(path: Path) -> None:
    """Deletes what killed processes left beside a data set."""
    left = re.compile(rf"\.{re.escape(path.name)}\.(\d+)-[0-9a-f]{{8}}\.(new|old)")
    for entry in path.parent.iterdir():
        match = left.fullmatch(entry.name)
        if match and not _is_running(int(match[1])):
            shutil.rmtree(entry, ignore_errors=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def check_place(path: Path, overwrite: bool) -> None:
    """Checks, before the work is done, that a data set may be written to a path.

    Raises:
        FileExistsError: It holds something, and that may not be replaced.
    """
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if not overwrite:
        raise FileExistsError(
            f"Dataset: path must not exist, unless overwriting is asked for (got {path})"
        )
    if not (path / MANIFEST).is_file():
        raise FileExistsError(
            f"Dataset: only a folder with {MANIFEST} may be overwritten (got {path})"
        )


def _write_files(dataset: Dataset, folder: Path) -> None:
    entries = {}
    for name, file in _FILES.items():
        value = getattr(dataset, name)
        if value is None:
            continue
        if name in _MATRICES:
            write_matrix(folder / file, value)
        elif name in _VECTORS:
            np.save(folder / file, value, allow_pickle=False)
        else:
            write_table(folder / file, value)
        entries[file] = _entry(value)
    manifest = Manifest(
        name=dataset.name,
        num_users=dataset.num_users,
        num_items=dataset.num_items,
        files=entries,
        source=dataset.source,
        encoding=None if dataset.encoding is None else dict(dataset.encoding),
    )
    (folder / MANIFEST).write_text(
        manifest.model_dump_json(indent=2, exclude_none=True) + "\n", encoding="utf-8"
    )


def _entry(value: Any) -> FileEntry:
    dtype, interactions = getattr(value, "dtype", None), getattr(value, "nnz", None)
    return FileEntry(
        shape=value.shape, dtype=None if dtype is None else str(dtype), interactions=interactions
    )


def _put_in_place(aside: Path, path: Path, old: Path) -> None:
    # A folder cannot be renamed over a filled one: the old one steps aside, and back on failure.
    if path.exists():
        os.replace(path, old)
    try:
        os.replace(aside, path)
    except OSError:
        if old.exists():
            os.replace(old, path)
        raise
    shutil.rmtree(old, ignore_errors=True)


def read_folder(path: Path) -> Dataset:
    """Reads and checks a folder that `write_folder` wrote; see `Dataset.load`."""
    manifest = _read_manifest(path / MANIFEST)
    _check_listing(path, manifest)
    parts: dict[str, Any] = {}
    for name, file in _FILES.items():
        if file not in manifest.files:
            continue
        parts[name] = _READERS[file](path / file)
        found = _entry(parts[name])
        if found != manifest.files[file]:
            raise DatasetError(
                f"{path / file}: must be as {MANIFEST} says, {_words(manifest.files[file])}"
                f" (got {_words(found)})"
            )
    try:
        dataset = Dataset(
            name=manifest.name, source=manifest.source, encoding=manifest.encoding, **parts
        )
    except (TypeError, ValueError) as error:
        raise DatasetError(f"{path}: {error}") from error
    if dataset.train.shape != (manifest.num_users, manifest.num_items):
        raise DatasetError(
            f"{path / MANIFEST}: num_users and num_items must be the sizes of train.npz,"
            f" {dataset.train.shape} (got {(manifest.num_users, manifest.num_items)})"
        )
    return dataset


def _read_manifest(path: Path) -> Manifest:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path}: must be JSON (got {error})") from error
    version = content.get("format_version") if isinstance(content, dict) else None
    # Before anything else: a later format may well have other fields.
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise DatasetError(
            f"{path}: format_version must be at most {FORMAT_VERSION}; a newer rlmrec_fast wrote"
            f" this data set (got {version})"
        )
    if version != FORMAT_VERSION:
        raise DatasetError(
            f"{path}: format_version must be {FORMAT_VERSION}; this is no data set of ours"
            f" (got {version!r})"
        )
    try:
        return Manifest.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise DatasetError(
            f"{path}: {field} must be valid: {first['msg']} (got {str(first['input'])[:80]})"
        ) from error


def _check_listing(path: Path, manifest: Manifest) -> None:
    known = set(_FILES.values())
    listed = set(manifest.files)
    if listed - known:
        raise DatasetError(
            f"{path / MANIFEST}: files must be of {', '.join(sorted(known))}"
            f" (got {', '.join(sorted(listed - known))})"
        )
    missing = sorted(
        (set(_MATRICES.values()) | listed) - {file for file in known if (path / file).is_file()}
    )
    if missing:
        raise DatasetError(f"{path}: must hold {', '.join(missing)} (got {files_in(path)})")
    unlisted = sorted(file for file in known - listed if (path / file).exists())
    if unlisted:
        raise DatasetError(
            f"{path}: every file must be listed in {MANIFEST}; save a Dataset to add one"
            f" (got {', '.join(unlisted)})"
        )


def _words(entry: FileEntry) -> str:
    parts = [f"shape {entry.shape}"]
    if entry.dtype:
        parts.append(entry.dtype)
    if entry.interactions is not None:
        parts.append(f"{entry.interactions} interactions")
    return ", ".join(parts)
