"""What a case cannot do without, and how long this machine takes for that at its measured peaks.

A `Work` counts the bytes that must pass between the registers and the level of memory that holds
the working set, and the floating-point operations. Its floor time is the larger of the two at the
machine's peaks; the rest of the machine is assumed to be free. Hashing, branches, and latency are
not counted, so a floor is a bound and not a goal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import torch

_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_DEFAULT_CACHE = {"L2": 2**20, "L3": 2**25}
_LARGEST_PROBE = 2**30


@dataclass(frozen=True)
class Work:
    """Necessary work.

    Attributes:
        bytes: moved between registers and the level that holds the working set.
        flops: additions and multiplications.
        working_set: bytes that one core comes back to; decides the level.
    """

    bytes: float
    flops: float = 0.0
    working_set: float = 0.0

    def __mul__(self, times: float) -> Work:
        return Work(self.bytes * times, self.flops * times, self.working_set)


@dataclass(frozen=True)
class Peaks:
    """What the machine can do with the threads in use.

    Attributes:
        caches: bytes of the L2 of one core and of the L3.
        bandwidth: bytes per second from `L2`, `L3` and `DRAM`.
        flops: fp32 operations per second.
    """

    caches: dict[str, int]
    bandwidth: dict[str, float]
    flops: float

    def level(self, work: Work) -> str:
        """The nearest level that holds the working set."""
        fitting = (name for name, size in self.caches.items() if work.working_set <= size)
        return next(fitting, "DRAM")

    def seconds(self, works: Sequence[Work]) -> float:
        """The floor time of several pieces of work, one after the other."""
        return sum(
            max(work.bytes / self.bandwidth[self.level(work)], work.flops / self.flops)
            for work in works
        )


def measure_peaks(seconds: float = 0.3) -> Peaks:
    """Probes the machine with torch's current number of threads.

    Bandwidth is that of a dot product of two arrays of half the level's size (DRAM: four times the
    L3, at most 1 GiB together), L2 on one thread times the number of threads. The fp32 peak is that
    of MKL's matrix product.

    Args:
        seconds: time for each of the four probes.
    """
    caches, threads = cache_sizes(), torch.get_num_threads()
    sizes = {**caches, "DRAM": 4 * caches["L3"]}
    bandwidth = {}
    for level, size in sizes.items():
        # L3 may be shared with other machines' work, so half of it is not relied on either.
        used = min(size // 2, _LARGEST_PROBE)
        a = torch.ones(used // 8)
        b = torch.ones(used // 8)
        torch.set_num_threads(1 if level == "L2" else threads)
        best = _best_time(lambda a=a, b=b: torch.dot(a, b), seconds)  # type: ignore[misc]
        torch.set_num_threads(threads)
        bandwidth[level] = used / best * (threads if level == "L2" else 1)
    n = 1536
    a, b = torch.ones(n, n), torch.ones(n, n)
    out = torch.empty(n, n)
    flops = 2 * n**3 / _best_time(lambda: torch.mm(a, b, out=out), seconds)
    return Peaks(caches, bandwidth, flops)


def cache_sizes() -> dict[str, int]:
    """Bytes of one core's L2 and of the L3, as Linux reports them, else 1 MiB and 32 MiB."""
    sizes = dict(_DEFAULT_CACHE)
    for index in _CACHES.glob("index*"):
        level = f"L{(index / 'level').read_text().strip()}"
        if level in sizes:
            sizes[level] = int((index / "size").read_text().strip().removesuffix("K")) * 1024
    return sizes


def _best_time(call: Callable[[], object], seconds: float) -> float:
    call()
    best, end = float("inf"), perf_counter() + seconds
    while perf_counter() < end:
        start = perf_counter()
        call()
        best = min(best, perf_counter() - start)
    return best
