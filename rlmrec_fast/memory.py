"""Memory that the process keeps between the steps of a training loop."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager

import torch

# Parameters of mallopt in <malloc.h>.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3


def keep_freed_memory() -> None:
    """Tells glibc to keep freed memory instead of returning it to the system.

    A step frees tables of some MiB and asks for the same again. By default glibc hands the pages
    back in between, and the system zeroes them anew: hundreds of page faults a step, which can take
    longer than the step's arithmetic. Call it once at the start of a program that trains; it holds
    for the whole process, and does nothing where the C library is another.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(_M_TRIM_THRESHOLD, 1 << 30)
    mallopt(_M_MMAP_THRESHOLD, 1 << 25)


@contextmanager
def settled() -> Iterator[None]:
    """Spares collections of garbage the walk through what exists already, while it lasts.

    After torch is imported these are more than 100,000 objects, which a training loop leaves alone.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def release_scratch() -> int:
    """Gives back the working memory that operators keep between calls, at most 64 MiB.

    Returns:
        Bytes given back.
    """
    released: int = torch.ops.rlmrec_fast.release_scratch(torch.empty(0))
    return released
