"""The final tables as files that other programs read without this package.

    embeddings.safetensors   user_embedding [U, d'], item_embedding [n, d'], float32;
                             seen_offsets int64 [U + 1], seen_items int32: items
                             seen_items[seen_offsets[u]:seen_offsets[u + 1]] of user u's training
    users.json items.json    lists, entry n for row n: {"id": ..., "title": ...}; or .parquet
    export.json              format, model, data set, sizes, hash of the embeddings; written last

A score is the dot product of a user's and an item's row.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from safetensors.numpy import save_file

from rlmrec_fast.data.fetch import hash_of
from rlmrec_fast.data.folder import folder_beside
from rlmrec_fast.serving.catalog import Catalog, Ids

if TYPE_CHECKING:
    from rlmrec_fast.training.inference import TrainedRun

RECORD = "export.json"
FORMAT = 1
ID_FORMS = ("json", "parquet")


def check_place(path: Path, overwrite: bool) -> None:
    """Checks that an export may be written to a path.

    Raises:
        FileExistsError: it holds something, and that may not be replaced.
    """
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if not overwrite:
        raise FileExistsError(f"export: {path} must not exist, unless --overwrite is given")
    if not (path / RECORD).is_file():
        raise FileExistsError(f"export: only a folder with {RECORD} may be replaced (got {path})")


def export_tables(
    run: TrainedRun,
    path: Path,
    catalog: Catalog | None = None,
    ids: str = "json",
    overwrite: bool = False,
) -> dict[str, Any]:
    """Writes an export; whole, or not at all.

    Args:
        run: the run.
        path: the folder.
        catalog: its items; None for those of the data set.
        ids: form of the lists, `json` or `parquet`.
        overwrite: whether to replace an export.

    Returns:
        The content of `export.json`.

    Raises:
        FileExistsError: the folder exists and may not be replaced.
        ValueError: the form is unknown.
    """
    if ids not in ID_FORMS:
        raise ValueError(f"export: ids must be one of {', '.join(ID_FORMS)} (got {ids!r})")
    path = path.resolve()
    check_place(path, overwrite)
    catalog = catalog or Catalog.of(run)
    with folder_beside(path) as aside:
        tables: dict[str, np.ndarray[Any, np.dtype[Any]]] = {
            "user_embedding": _array(run.user_embedding),
            "item_embedding": _array(catalog.embedding),
            "seen_offsets": run.dataset.train.indptr.astype(np.int64),
            "seen_items": run.dataset.train.indices.astype(np.int32),
        }
        save_file(tables, aside / "embeddings.safetensors")
        users = run.dataset.users
        user_ids = Ids.of(users, run.dataset.num_users, "user", run.dataset.name)
        titles = [None] * len(user_ids.names) if users is None else users["title"].to_list()
        _write_ids(aside / f"users.{ids}", user_ids.names, titles)
        _write_ids(aside / f"items.{ids}", catalog.ids.names, catalog.titles)
        record = _record(run, catalog, tables)
        record["sha256"] = hash_of(aside / "embeddings.safetensors")
        (aside / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        old = aside.with_suffix(".old")
        if path.exists():
            os.replace(path, old)
        os.replace(aside, path)
        shutil.rmtree(old, ignore_errors=True)
    return record


def _array(table: Any) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.ascontiguousarray(table.detach().float().numpy())


def _record(run: TrainedRun, catalog: Catalog, tables: dict[str, Any]) -> dict[str, Any]:
    settings = run.run.config.settings
    return {
        "format": FORMAT,
        "model": settings.model,
        "align": settings.align,
        "seed": settings.seed,
        "epoch": run.epoch,
        "data": run.dataset.name,
        "users": len(tables["user_embedding"]),
        "items": len(tables["item_embedding"]),
        "new_items": len(tables["item_embedding"]) - catalog.known,
        "dim": tables["item_embedding"].shape[1],
    }


def _write_ids(path: Path, names: Any, titles: Any) -> None:
    if path.suffix == ".parquet":
        columns = {"id": names, "title": titles}
        pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String)).write_parquet(path)
        return
    entries = [{"id": i, "title": title} for i, title in zip(names, titles, strict=True)]
    path.write_text(json.dumps(entries, ensure_ascii=False) + "\n", encoding="utf-8")
