"""Peak extra memory of one call, whoever allocates it.

The kernel's high-water mark of resident memory (VmHWM) is reset through /proc/self/clear_refs, and
read again after the call. So what native libraries allocate for themselves counts; torch's profiler
and tracemalloc would miss it, and a fresh process per provider would count its imports. Memory that
the C library or ours keeps from earlier calls would hide allocations, so it is given back first.
What stays is the kernel's batching of its page counters: about 0.25 MB.
"""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from pathlib import Path

from rlmrec_fast.memory import release_scratch

_CLEAR = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


def peak_extra_bytes(call: Callable[[], object]) -> int | None:
    """The most resident memory that a call needs beyond what was there before, results included.

    Returns:
        Bytes, or None where the system cannot tell (anything but Linux).
    """
    gc.collect()
    try:
        _give_back_free_pages()
        _CLEAR.write_text("5")
        before = _status_bytes("VmRSS")
        result = call()
        peak = _status_bytes("VmHWM")
    except (OSError, AttributeError):
        return None
    del result
    return max(0, peak - before)


def _give_back_free_pages() -> None:
    release_scratch()
    ctypes.CDLL(None).malloc_trim(0)


def _status_bytes(name: str) -> int:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"{_STATUS} has no {name}")
