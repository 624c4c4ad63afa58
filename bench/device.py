"""Where the suite runs: how a clock is read there, how memory is counted, and what it can do.

Work on a GPU is only queued by the calls that ask for it, so whoever reads a clock or a counter
first waits until all of it is done.
"""

from __future__ import annotations

import gc
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any, Protocol

import torch
from torch.profiler import ProfilerActivity

from bench.floor import LARGEST_PROBE, Peaks, measure_peaks
from bench.memory import peak_extra_bytes
from rlmrec_fast import info

_SIDE = 8192
"""Of the matrices whose product gives the peak of arithmetic."""


class Device(Protocol):
    """What measuring needs to know of a device.

    Attributes:
        place: where tensors go.
        activities: what the profiler records.
    """

    place: torch.device
    activities: tuple[ProfilerActivity, ...]

    def synchronize(self) -> None:
        """Waits until all work that was asked for is done."""

    def peak_extra_bytes(self, call: Callable[[], object]) -> int | None:
        """The most memory that a call needs beyond what was there before, results included."""

    def environment(self) -> dict[str, Any]:
        """What is to be said of the device beyond the machine that it is in."""

    def peaks(self, seconds: float = 0.5) -> Peaks:
        """Probes the device, for that long each."""

    def seconds_in(self, event: Any) -> float:
        """How long the device was busy with an operator, by the profiler's averages."""


class Cpu:
    """The processor, with torch's current number of threads."""

    place = torch.device("cpu")
    activities: tuple[ProfilerActivity, ...] = (ProfilerActivity.CPU,)

    def synchronize(self) -> None:
        """Nothing is left to wait for when a call returns."""

    def peak_extra_bytes(self, call: Callable[[], object]) -> int | None:
        """See `bench.memory`."""
        return peak_extra_bytes(call)

    def environment(self) -> dict[str, Any]:
        """Nothing: `bench.environment` says it all."""
        return {}

    def peaks(self, seconds: float = 0.5) -> Peaks:
        """See `bench.floor.measure_peaks`."""
        return measure_peaks(seconds)

    def seconds_in(self, event: Any) -> float:
        """Of the calling thread."""
        return float(event.cpu_time_total) * 1e-6


class Cuda:
    """A GPU.

    Args:
        place: which.
    """

    activities: tuple[ProfilerActivity, ...] = (ProfilerActivity.CPU, ProfilerActivity.CUDA)

    def __init__(self, place: torch.device) -> None:
        self.place = place

    def synchronize(self) -> None:
        """Waits for all streams of the GPU."""
        torch.cuda.synchronize(self.place)

    def peak_extra_bytes(self, call: Callable[[], object]) -> int | None:
        """By the counters of torch's caching allocator, for blocks as large as it hands out.

        Our kernels allocate nothing by themselves: results and working memory are tensors. What
        CUDA's libraries take past the allocator, such as cuSPARSE's own handles, is not seen.
        """
        gc.collect()
        self.synchronize()
        torch.cuda.reset_peak_memory_stats(self.place)
        before = torch.cuda.memory_allocated(self.place)
        result = call()
        self.synchronize()
        peak = torch.cuda.max_memory_allocated(self.place)
        del result
        return max(0, peak - before)

    def environment(self) -> dict[str, Any]:
        """The GPU, its driver and limits, and what our kernels were compiled for."""
        found = torch.cuda.get_device_properties(self.place)
        build = info.report()["cuda"]
        about = {
            "name": found.name,
            "capability": f"{found.major}.{found.minor}",
            "multiprocessors": found.multi_processor_count,
            "memory": found.total_memory,
            "L2": found.L2_cache_size,
            "cuda": torch.version.cuda,
            "kernels": build["kernels in this build"],
        }
        return {"device": about | _driver(str(found.uuid))}

    def peaks(self, seconds: float = 0.5) -> Peaks:
        """What kernels of torch reach, one after the other in a recorded CUDA graph.

        Bandwidth is that of copying an array or of a dot product of two, whichever is faster, on
        half the L2, or on as much as is eight times the L2 and at least 1 GiB. Operations per
        second are those of `torch.mm`. Three products in TF32 can stand for one in fp32, so the
        floor's fp32 peak is a third of TF32's where that is more.
        """
        cache = int(torch.cuda.get_device_properties(self.place).L2_cache_size)
        free, _ = torch.cuda.mem_get_info(self.place)
        sizes = {"L2": cache // 2, "DRAM": min(max(8 * cache, LARGEST_PROBE), free // 2)}
        bandwidth = {level: self._bandwidth(size, seconds) for level, size in sizes.items()}
        products = {
            "fp32": self._products(torch.float32, "ieee", seconds),
            "tf32": self._products(torch.float32, "tf32", seconds),
            "bf16": self._products(torch.bfloat16, "ieee", seconds),
        }
        torch.cuda.empty_cache()
        flops = max(products["fp32"], products["tf32"] / 3)
        return Peaks({"L2": cache}, bandwidth, flops, products)

    def seconds_in(self, event: Any) -> float:
        """Of the kernels that the operator launched."""
        return float(event.device_time_total) * 1e-6

    def _bandwidth(self, size: int, seconds: float) -> float:
        """Bytes per second, with two arrays of that size together."""
        a, b = torch.ones(2, size // 8, device=self.place)
        ways = (lambda: b.copy_(a), lambda: torch.dot(a, b))
        return size / min(self._best_time(way, 20, seconds / 2) for way in ways)

    def _products(self, dtype: torch.dtype, precision: str, seconds: float) -> float:
        """Operations per second of a product of matrices."""
        a, b, out = torch.ones(3, _SIDE, _SIDE, dtype=dtype, device=self.place)
        with _precision(precision):
            return 2 * _SIDE**3 / self._best_time(lambda: torch.mm(a, b, out=out), 4, seconds)

    def _best_time(self, call: Callable[[], object], calls: int, seconds: float) -> float:
        """Seconds of a call in the fastest replay of some.

        Recorded, because a kernel that reads half the L2 is done sooner than the host has asked
        for the next one.
        """
        stream = torch.cuda.Stream(self.place)
        with torch.cuda.stream(stream):
            call()
        self.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            for _ in range(calls):
                call()
        best, end = float("inf"), perf_counter() + seconds
        while best == float("inf") or perf_counter() < end:
            self.synchronize()
            start = perf_counter()
            graph.replay()
            self.synchronize()
            best = min(best, perf_counter() - start)
        return best / calls


CPU = Cpu()


def device_at(place: torch.device) -> Device:
    """How to measure at a place, `cpu` or `cuda`."""
    return CPU if place.type == "cpu" else Cuda(place)


@contextmanager
def _precision(name: str) -> Iterator[None]:
    """Lets fp32 products be taken as such (`ieee`), or in `tf32`."""
    products = torch.backends.cuda.matmul
    before = products.fp32_precision
    products.fp32_precision = name
    try:
        yield
    finally:
        products.fp32_precision = before


def _driver(uuid: str) -> dict[str, str]:
    """What the driver's own tool says of a GPU; nothing where it is missing."""
    asked = {"driver": "driver_version", "power limit": "power.limit", "clock": "clocks.max.sm"}
    command = ["nvidia-smi", f"--id=GPU-{uuid}", "--format=csv,noheader"]
    try:
        done = subprocess.run(
            [*command, f"--query-gpu={','.join(asked.values())}"],
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
    except (OSError, subprocess.SubprocessError):
        return {}
    values = [value.strip() for value in done.stdout.strip().split(",")]
    return dict(zip(asked, values, strict=True)) if len(values) == len(asked) else {}
