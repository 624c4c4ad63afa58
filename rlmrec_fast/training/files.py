"""Writing files so that a reader never meets half of one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ASIDE_PATTERN = ".*.aside"
"""What a killed process may leave behind."""


@contextmanager
def writing_aside(path: Path) -> Iterator[Path]:
    """Gives a path beside `path` to write to, then puts it in place in a single step."""
    aside = path.with_name(f".{path.name}.aside")
    try:
        yield aside
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Replaces a text file in a single step."""
    with writing_aside(path) as aside:
        aside.write_text(text, encoding="utf-8")
