"""A table of vectors on disk that fills up block by block and outlives kill -9."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any

import numpy as np

from rlmrec_fast.data.vectors import Vectors, read_vectors
from rlmrec_fast.semantic.journal import Journal
from rlmrec_fast.training.files import writing_aside


class VectorStore:
    """A memory-mapped `.npy` file and a journal of the blocks that it holds; a context manager.

    What was made otherwise, that is with another identity, is thrown away. Rows that no block has
    are zero.

    Args:
        path: The `.npy` file; the journal lies beside it.
        rows: Rows of the table.
        dtype: float16 or float32.
        identity: All that decides the vectors, for JSON.

    Raises:
        ValueError: Another process is filling the table.
    """

    def __init__(self, path: Path, rows: int, dtype: str, identity: Mapping[str, Any]) -> None:
        self.path, self._rows, self._dtype = path, rows, dtype
        self._journal = Journal(path.with_suffix(".jsonl"))
        self._identity = {"identity": dict(identity), "rows": rows, "dtype": dtype}
        records = self._journal.records
        self._table: np.memmap[Any, Any] | None = None
        self.done: set[int] = set()
        self._lock = Lock()
        if records and self._matches(records[0]):
            self.done = {record["block"] for record in records[1:]}
            self._table = np.lib.format.open_memmap(path, mode="r+")
        elif records:
            self._journal.clear()

    def _matches(self, header: Mapping[str, Any]) -> bool:
        known = {key: value for key, value in header.items() if key != "width"}
        return known == self._identity and self.path.is_file()

    def put(self, block: int, rows: Any, vectors: Vectors) -> None:
        """Writes a block, from any thread; it counts as done once the disk has it.

        Args:
            block: Its number.
            rows: int64 `[n]`, where its vectors belong.
            vectors: `[n, t]`.

        Raises:
            ValueError: The vectors are as wide as none before, or too few, or not finite.
        """
        with self._lock:
            if self._table is None:
                self._start(int(vectors.shape[1]))
            assert self._table is not None
            if vectors.shape != (len(rows), self._table.shape[1]):
                raise ValueError(
                    f"encode: the encoder must give {len(rows)} vectors of size"
                    f" {self._table.shape[1]} (got {vectors.shape})"
                )
            if not np.isfinite(vectors).all():
                raise ValueError("encode: the encoder must give finite vectors (got NaN, infinity)")
            self._table[rows] = vectors
            self._table.flush()
            self._journal.append({"block": block})
            self.done.add(block)

    def _start(self, width: int) -> None:
        with writing_aside(self.path) as aside:
            np.lib.format.open_memmap(
                aside, mode="w+", dtype=np.dtype(self._dtype), shape=(self._rows, width)
            ).flush()
        self._table = np.lib.format.open_memmap(self.path, mode="r+")
        self._journal.append({**self._identity, "width": width})

    def read(self) -> Vectors:
        """The table, mapped read-only."""
        return read_vectors(self.path)

    def close(self) -> None:
        """Closes both files and gives the lock back."""
        self._table = None
        self._journal.close()

    def __enter__(self) -> VectorStore:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
