"""What a case cannot do without, and how long this machine takes for that at its measured peaks.

A `Work` counts floating-point operations, bytes that are read again and again and at best come from
L2 (of the cores in use, or of the GPU), and bytes that must be moved at least once. Its floor time
is the longest of these at the machine's peaks, as if they overlapped perfectly. Hashing, branches
and latency are not counted, so a floor is a bound and not a goal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_DEFAULT_CACHE = {"L2": 2**20, "L3": 2**25}
LARGEST_PROBE = 2**30
"""Bytes of the arrays that DRAM is probed with."""


@dataclass(frozen=True)
class Work:
    """Necessary work.

    Attributes:
        streamed: bytes moved once, from and to the nearest level that holds them all.
        flops: additions and multiplications.
        cached: bytes read repeatedly, at best from L2.
        bfloat16: additions and multiplications of products in bfloat16.
    """

    streamed: float
    flops: float = 0.0
    cached: float = 0.0
    bfloat16: float = 0.0


@dataclass(frozen=True)
class Peaks:
    """What the machine can do, a CPU with the threads in use.

    Attributes:
        caches: bytes of the levels above DRAM, nearest first: the L2 (of all cores in use) and, of
            a CPU, the L3.
        bandwidth: bytes per second from each of them and from `DRAM`.
        flops: fp32 operations per second.
        products: operations per second of products in `fp32`, `tf32` and `bf16`, where they were
            measured.
    """

    caches: dict[str, int]
    bandwidth: dict[str, float]
    flops: float
    products: dict[str, float] = field(default_factory=dict)

    def level(self, work: Work) -> str:
        """The nearest level that holds what is streamed."""
        fitting = (name for name, size in self.caches.items() if work.streamed <= size)
        return next(fitting, "DRAM")

    def seconds(self, work: Work) -> float:
        """The floor time."""
        return max(
            work.streamed / self.bandwidth[self.level(work)],
            work.cached / self.bandwidth["L2"],
            work.flops / self.flops + work.bfloat16 / self.products.get("bf16", 2 * self.flops),
        )

    def floor(self, works: Sequence[tuple[Work, float]]) -> dict[str, Any]:
        """Bytes, operations and milliseconds of pieces of work and how often each is done.

        An operation in bfloat16 counts half.
        """
        return {
            "bytes": sum((work.streamed + work.cached) * times for work, times in works),
            "flops": sum((work.flops + work.bfloat16 / 2) * times for work, times in works),
            "levels": sorted({self.level(work) for work, _ in works}),
            "ms": sum(self.seconds(work) * times for work, times in works) * 1e3,
        }


def measure_peaks(seconds: float = 0.5) -> Peaks:
    """Probes the processor with torch's current number of threads.

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
        # Half a level, so that what else is cached leaves the arrays in.
        used = min(size // 2, LARGEST_PROBE)
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
    return Peaks({**caches, "L2": caches["L2"] * threads}, bandwidth, flops)


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
