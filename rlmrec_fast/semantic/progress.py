"""How far a long piece of work is, on a terminal and in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

_LOG_SECONDS = 15.0


class Advance(Protocol):
    """Tells that some more is done."""

    def __call__(self, count: int) -> None:
        """Adds `count` to what is done."""
        ...


@contextmanager
def progress(label: str, total: int, done: int = 0) -> Iterator[Advance]:
    """Shows progress on stderr: a bar on a terminal, else a line every quarter of a minute.

    Args:
        label: What is being done.
        total: How much there is to do.
        done: How much of it was done before.
    """
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import Progress

        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(label, total=total, completed=done)
            yield lambda count: bar.advance(task, count)
        return
    yield _Log(label, total, done)


class _Log:
    def __init__(self, label: str, total: int, done: int) -> None:
        self.label, self.total, self.done, self.before = label, total, done, done
        self.start = self.said = time.monotonic()

    def __call__(self, count: int) -> None:
        self.done += count
        now = time.monotonic()
        if now - self.said >= _LOG_SECONDS:
            self.said = now
            rate = (self.done - self.before) / (now - self.start)
            left = duration((self.total - self.done) / rate)
            print(
                f"{self.label}: {self.done:,} of {self.total:,}, {rate:.1f} a second, {left} left",
                file=sys.stderr,
                flush=True,
            )


def duration(seconds: float) -> str:
    """A length of time for people: `42 s`, `7 min 5 s`, `3 h 2 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
