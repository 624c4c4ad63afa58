"""One listing of the CUDA kernels, none of it measured on a GPU.

    python -m bench.cuda_kernels [--emulation build/tests/tests/simt/simt_hazards]

For each kernel what nvcc made of it for an H100: registers, shared memory, and how many of the
multiprocessor's threads these leave room for. For the main ones bytes, operations and the time that
nobody can beat on an H100, at the sizes of two data sets. From the emulation's record of every
access sectors per request of global memory and passes per request of shared memory, beside the
fewest that the same bytes could do with.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.cuda_resources import LIBRARY, Usage, find_cuobjdump, read_usages, template_of
from bench.report import ROOT

EMULATION = ROOT / "build" / "tests" / "tests" / "simt" / "simt_hazards"
ARCHITECTURE = "sm_90"

# H100 SXM: bytes a second from memory and, as measured by many, from L2; fp32 operations a second.
_MEMORY, _L2, _FLOPS = 3.35e12, 5.5e12, 66.9e12
# Of a multiprocessor.
_THREADS, _REGISTERS, _SHARED, _BLOCKS, _RESERVED = 2048, 65536, 228 * 1024, 32, 1024


@dataclass(frozen=True)
class DataSize:
    """Users, items, training interactions, width of the tables and size of a batch."""

    name: str
    users: int
    items: int
    interactions: int
    d: int
    batch: int = 4096


SIZES = (
    DataSize("Amazon, d 32", 11_000, 9_332, 120_464, 32),
    DataSize("gowalla, d 64", 29_858, 40_981, 810_128, 64),
)


@dataclass(frozen=True)
class Work:
    """Bytes that move once, bytes read again from L2 at best, and fp32 operations."""

    streamed: float
    cached: float = 0.0
    flops: float = 0.0

    def floor_us(self) -> float:
        """Microseconds on an H100, if everything overlapped."""
        bound = max(self.streamed / _MEMORY, self.cached / _L2, self.flops / _FLOPS)
        return bound * 1e6


def _layer(size: DataSize) -> Work:
    nodes, entries = size.users + size.items, 2 * size.interactions
    table = nodes * size.d * 4
    return Work(2 * table + entries * 4 + nodes * 16, entries * size.d * 4, 2 * entries * size.d)


def _rank(size: DataSize) -> Work:
    tables = (size.users + size.items) * size.d * 4
    results = size.users * 20 * 12 + size.interactions * 4
    return Work(tables + results, flops=2 * size.users * size.items * size.d)


def _bpr(size: DataSize) -> Work:
    return Work(size.batch * (3 * size.d * 4 + 3 * 8 + 8), flops=4 * size.batch * size.d)


def _sample(size: DataSize) -> Work:
    return Work(size.interactions * (4 + 8) + size.users * 8)


WORK: dict[str, Callable[[DataSize], Work]] = {
    "propagate_rows": _layer,
    "rank_users": _rank,
    "bpr_losses": _bpr,
    "sample_negatives": _sample,
}


def occupancy(usage: Usage, threads: int, dynamic_shared: int = 0) -> float:
    """The share of a multiprocessor's threads that blocks of this kernel can fill."""
    warps = -(-threads // 32)
    registers = warps * (-(-usage.registers * 32 // 256) * 256)
    shared = usage.shared + dynamic_shared + _RESERVED
    blocks = min(_BLOCKS, _THREADS // (warps * 32), _REGISTERS // registers, _SHARED // shared)
    return blocks * warps * 32 / _THREADS


def record(program: Path) -> list[dict[str, Any]]:
    """What the emulation recorded of the tests named record_..."""
    command = [str(program.resolve()), "--record"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def resource_lines(usages: dict[str, Usage], records: Iterable[dict[str, Any]]) -> list[str]:
    """A Markdown table: per kernel template its largest usage and the occupancy of its blocks."""
    blocks = {
        template_of(entry["launch"].strip("()")): (entry["block"], entry["dynamic_shared"])
        for entry in records
        if "launch" in entry
    }
    lines = [
        "| kernel | registers | shared, bytes | threads | occupancy bound |",
        "|---|" + "--:|" * 4,
    ]
    for name, usage in sorted(usages.items()):
        shape, dynamic = blocks.get(name, (None, 0))
        threads = shape[0] * shape[1] * shape[2] if shape else None
        bound = f"{occupancy(usage, threads, dynamic):.0%}" if threads else ""
        shared = usage.shared + dynamic
        lines.append(f"| {name} | {usage.registers} | {shared:,} | {threads or ''} | {bound} |")
    return lines


def work_lines(sizes: Sequence[DataSize] = SIZES) -> list[str]:
    """A Markdown table of bytes, operations and floor times."""
    lines = [
        "| kernel | data | streamed, MB | from L2, MB | Mflop | floor on an H100, us |",
        "|---|---|" + "--:|" * 4,
    ]
    for name, model in WORK.items():
        for size in sizes:
            work = model(size)
            amounts = " | ".join(
                f"{value / 1e6:,.2f}" for value in (work.streamed, work.cached, work.flops)
            )
            lines.append(f"| {name} | {size.name} | {amounts} | {work.floor_us():.2f} |")
    return lines


def access_lines(records: Iterable[dict[str, Any]]) -> list[str]:
    """A Markdown table of requests by kernel, line and kind, sectors or passes and the ideal."""
    lines = [
        "| kernel | line | access | requests | bytes each | sectors or passes | ideal | worst |",
        "|---|---|---|" + "--:|" * 5,
    ]
    merged: dict[tuple[str, str, str], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for entry in records:
        if "access" not in entry:
            continue
        kind = ("shared" if entry["shared"] else "global") + (
            " write" if entry["write"] else " read"
        )
        total = merged[template_of(entry["access"].strip("()")), entry["where"], kind]
        for key in ("requests", "bytes", "units", "ideal"):
            total[key] += entry[key]
        total["worst"] = max(total["worst"], entry["worst"])
    for (kernel, where, kind), total in sorted(merged.items()):
        n = total["requests"]
        lines.append(
            f"| {kernel} | {where} | {kind} | {n:,} | {total['bytes'] / n:.1f} "
            f"| {total['units'] / n:.2f} | {total['ideal'] / n:.2f} | {total['worst']} |"
        )
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    parser = argparse.ArgumentParser("python -m bench.cuda_kernels", description=__doc__)
    parser.add_argument("--emulation", type=Path, default=EMULATION, metavar="PROGRAM")
    options = parser.parse_args(arguments)
    records = record(options.emulation) if options.emulation.exists() else []
    cuobjdump = find_cuobjdump()
    if cuobjdump is not None:
        most: dict[str, Usage] = {}
        for kernel, usages in read_usages(LIBRARY, cuobjdump).items():
            usage, name = usages[ARCHITECTURE], template_of(kernel)
            old = most.get(name, usage)
            most[name] = Usage(max(usage.registers, old.registers), max(usage.shared, old.shared))
        print(*resource_lines(most, records), "", sep="\n")
    print(*work_lines(), "", sep="\n")
    if records:
        print(*access_lines(records), sep="\n")
    else:
        print(f"accesses: build {options.emulation} first (make test-simt)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
