"""An append-only file of JSON lines that outlives kill -9 and power failures."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any


class Journal:
    """What has been done, one record a line; use as a context manager, from any thread.

    A record is on the disk when `append` returns. A torn last line, which a killed process may
    leave, is cut off. The file is locked as long as the journal is open.

    Attributes:
        path: The file; made with its folder where it is missing.
        records: What the file held when it was opened.

    Raises:
        ValueError: Another process has the journal open, or a line other than the last is damaged.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        # Opened for appending only: a symbolic name for the file's end cannot overwrite anything.
        self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        self._lock = Lock()
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.records = self._read()
        except BlockingIOError:
            os.close(self._file)
            raise ValueError(
                f"{path}: must be free (got a lock: another process is writing it)"
            ) from None
        except BaseException:
            os.close(self._file)
            raise

    def _read(self) -> list[dict[str, Any]]:
        content = self.path.read_bytes()
        whole = content.rfind(b"\n") + 1
        lines = content[:whole].split(b"\n")[:-1]
        records = []
        for number, line in enumerate(lines, start=1):
            try:
                records.append(dict(json.loads(line)))
            except (TypeError, ValueError, RecursionError) as error:
                if number < len(lines):
                    raise ValueError(
                        f"{self.path}: line {number} must be a JSON object (got {line[:80]!r})"
                    ) from error
                # Blocks of a file may reach the disk out of order.
                whole -= len(line) + 1
        if whole < len(content):
            os.ftruncate(self._file, whole)
        return records

    def append(self, record: Mapping[str, Any]) -> None:
        """Adds a record and waits until the disk has it."""
        line = json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n"
        with self._lock:
            _write(self._file, line.encode("utf-8", "replace"))
            os.fsync(self._file)

    def clear(self) -> None:
        """Forgets everything."""
        os.ftruncate(self._file, 0)
        self.records = []

    def close(self) -> None:
        """Closes the file and gives the lock back."""
        os.close(self._file)

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _write(file: int, content: bytes) -> None:
    while content:
        content = content[os.write(file, content) :]
