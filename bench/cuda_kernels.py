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

# Of an H100 SXM, a second; the rate of L2 as measured by many.
_PEAKS = {
    "streamed": 3.35e12,
    "cached": 5.5e12,
    "flops": 66.9e12,
    "doubles": 33.5e12,
    "tensors": 495e12,
    "exponentials": 3.7e12,
}
_TEXT_WIDTH = 384

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

    @property
    def nodes(self) -> int:
        return self.users + self.items


SIZES = (
    DataSize("Amazon, d 32", 11_000, 9_332, 120_464, 32),
    DataSize("gowalla, d 64", 29_858, 40_981, 810_128, 64),
)


@dataclass(frozen=True)
class Work:
    """What a kernel cannot do without.

    Attributes:
        streamed: bytes that move once, from and to memory.
        cached: bytes that are read again, at best from L2.
        flops: operations in fp32.
        doubles: operations in fp64.
        tensors: operations on tensor cores in TF32.
        exponentials: of the special function units.
    """

    streamed: float
    cached: float = 0.0
    flops: float = 0.0
    doubles: float = 0.0
    tensors: float = 0.0
    exponentials: float = 0.0

    def floor_us(self) -> float:
        """Microseconds on an H100, if everything overlapped."""
        return max(getattr(self, key) / peak for key, peak in _PEAKS.items()) * 1e6


def _layer(size: DataSize) -> Work:
    table = size.nodes * size.d * 4
    entries = 2 * size.interactions
    return Work(
        2 * table + entries * 4 + size.nodes * 16, entries * size.d * 4, 2 * entries * size.d
    )


def _rank(size: DataSize) -> Work:
    tables = size.nodes * size.d * 4
    results = size.users * 20 * 12 + size.interactions * 4
    return Work(tables + results, flops=2 * size.users * size.items * size.d)


def _bpr(size: DataSize) -> Work:
    return Work(size.batch * (3 * size.d * 4 + 3 * 8 + 8), flops=4 * size.batch * size.d)


def _sample(size: DataSize) -> Work:
    return Work(size.interactions * (4 + 8) + size.users * 8)


def _pairs(queries: int, candidates: int, d: int, tensors: bool) -> Work:
    """A loss over all pairs and both gradients: in each of two passes logits, powers and sums."""
    pairs = queries * candidates
    operations = 2 * 2 * 2 * pairs * d
    tables = (2 * queries + candidates) * d * 4  # and as many gradients
    kind = {"tensors": operations} if tensors else {"flops": operations}
    return Work(2 * tables, exponentials=2 * pairs, **kind)


def _info_nce(tensors: bool) -> Callable[[DataSize], Work]:
    return lambda size: _pairs(size.batch, size.users, size.d, tensors)


def _reconstruction(size: DataSize) -> Work:
    masked = size.nodes * 15 // 100
    return _pairs(masked, masked, _TEXT_WIDTH, tensors=True)


def _edges(size: DataSize) -> Work:
    """A walk that gives values' and keys' gradients, on a decoder graph of six times the edges."""
    entries = 6 * size.interactions + size.nodes
    tables = 6 * size.nodes * size.d * 4
    return Work(
        tables + entries * 4 + size.nodes * 8,
        2 * entries * size.d * 4,
        8 * entries * size.d,
        exponentials=4 * entries,
    )


def _spread(size: DataSize) -> Work:
    entries = 2 * size.interactions
    return Work(entries * 4 + size.nodes * 16, entries * 4)


def _decoder_keys(size: DataSize) -> Work:
    entries = 2 * size.interactions
    return Work(entries * 4 + (size.nodes + 3 * entries) * 8, 2 * entries * 4)


def _scores(size: DataSize) -> Work:
    return Work(size.nodes * (2 * size.d + 1) * 4, doubles=6 * size.nodes * size.d)


def _directions(size: DataSize) -> Work:
    return Work(size.items * size.d * (4 + 8), doubles=4 * size.items * size.d)


def _nearest(size: DataSize) -> Work:
    """Every item's 100 nearest ones."""
    results = size.items * 100 * 16
    return Work(size.items * size.d * 8 + results, doubles=2 * size.items**2 * size.d)


def _overlap(size: DataSize) -> Work:
    return Work(size.items * (2 * 100 * 8 + 8))


WORK: dict[str, Callable[[DataSize], Work]] = {
    "propagate_rows": _layer,
    "rank_users": _rank,
    "bpr_losses": _bpr,
    "sample_negatives": _sample,
    "contrast_fma, info_nce": _info_nce(tensors=False),
    "contrast_mma, info_nce": _info_nce(tensors=True),
    f"contrast_mma, reconstruction_loss, d {_TEXT_WIDTH}": _reconstruction,
    "edge_rows": _edges,
    "spread_mask": _spread,
    "decoder_keys": _decoder_keys,
    "seed_scores": _scores,
    "find_directions": _directions,
    "rank_users, neighbors": _nearest,
    "neighbor_overlap": _overlap,
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
    amounts = {
        "streamed, MB": "streamed",
        "from L2, MB": "cached",
        "fp32 Mflop": "flops",
        "fp64 Mflop": "doubles",
        "TF32 Mflop": "tensors",
        "exponentials, M": "exponentials",
    }
    lines = [
        f"| kernel | data | {' | '.join(amounts)} | floor on an H100, us |",
        "|---|---|" + "--:|" * (len(amounts) + 1),
    ]
    for name, model in WORK.items():
        for size in sizes:
            work = model(size)
            values = " | ".join(f"{getattr(work, key) / 1e6:,.2f}" for key in amounts.values())
            lines.append(f"| {name} | {size.name} | {values} | {work.floor_us():,.2f} |")
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
