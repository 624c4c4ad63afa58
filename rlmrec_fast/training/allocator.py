"""Memory that training frees and asks for again in every step, kept by the process."""

from __future__ import annotations

import ctypes

# Parameters of mallopt in <malloc.h>.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3


def keep_freed_memory() -> None:
    """Tells glibc to keep freed memory instead of returning it to the system.

    A step frees tables of some MiB and asks for the same again. By default glibc hands the pages
    back in between, and the system zeroes them anew: hundreds of page faults a step. For whole
    programs only, as it holds for the process; does nothing where the C library is another.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(_M_TRIM_THRESHOLD, 1 << 30)
    mallopt(_M_MMAP_THRESHOLD, 1 << 25)
