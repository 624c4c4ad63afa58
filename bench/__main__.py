"""`python -m bench [FAMILY ...]`: measures and prints; see bench/README.md."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from bench.data import Context, Size
from bench.device import CPU, Device, device_at
from bench.environment import environment
from bench.figure import draw
from bench.harness import FULL, QUICK, run
from bench.report import (
    ROOT,
    close_or_lost,
    family_table,
    on_gpu,
    read_records,
    rewrite_tables,
    write_records,
)
from rlmrec_fast.memory import keep_freed_memory
from rlmrec_fast.training.model import parse_device

FAMILIES = (
    "propagate",
    "edge_attention",
    "adaptive_propagate",
    "subgraphs",
    "bpr",
    "sample",
    "rank",
    "neighbors",
    "graph",
    "info_nce",
    "epoch",
    "step",
    "isa",
    "prepare",
)
ON_THE_CPU = ("graph", "isa", "prepare")
"""Families that have nothing to measure on a GPU."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    options = _parse(arguments)
    if options.table is not None:
        try:
            records = read_records(options.table)
        except (OSError, ValueError) as error:
            print(error, file=sys.stderr)
            return 1
        print(*rewrite_tables(records), sep="\n")
        draw(records, ROOT / "docs" / ("speed-cuda.svg" if on_gpu(records) else "speed.svg"))
        return 0
    try:
        place = parse_device(options.device)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    if place.type == "cuda":
        place = torch.device("cuda", place.index or 0)
        torch.cuda.set_device(place)
    torch.set_num_threads(options.threads)
    if not options.default_allocator:
        keep_freed_memory()
    size: Size = "quick" if options.quick else "full"
    context = Context(size, options.threads, options.compile, place)
    families = options.families or FAMILIES
    measure(families, context, options.only, options.out, options.default_allocator)
    return 0


def measure(
    families: Sequence[str],
    context: Context,
    only: str = "",
    out: Path | None = None,
    default_allocator: bool = False,
) -> list[dict[str, Any]]:
    """Measures families, printing each case's table as it is known.

    Args:
        families: names of `FAMILIES`.
        context: size, threads, device, data.
        only: part of the names of the cases to measure.
        out: where the records go, written anew after every case.
        default_allocator: what to say of the allocator: untouched, or told to keep freed memory.

    Returns:
        The records.
    """
    device = device_at(context.device)
    where = environment(context.data) | device.environment()
    where["allocator"] = "glibc, " + ("default" if default_allocator else "freed memory kept")
    peaks = device.peaks()
    where["peaks"] = {"flops": peaks.flops, "bandwidth": peaks.bandwidth}
    if peaks.products:
        where["peaks"]["products"] = peaks.products
    for name, value in where.items():
        print(f"{name}: {value}")
    budget = QUICK if context.size == "quick" else FULL
    records: list[dict[str, Any]] = []
    for family in _families_on(device, families):
        for every in import_module(f"bench.{family}").cases(context):
            if only not in every.name:
                continue
            case, left_out = every.on(device.place)
            new = [record.as_dict() for record in run(case, budget, peaks, where, device)]
            print(f"\n{family_table(new)}", flush=True)
            _say_left_out(device, left_out)
            records += new
            if out is not None:
                write_records(out, records)
    print(f"\nClose or lost:\n{close_or_lost(records)}")
    return records


def _families_on(device: Device, families: Sequence[str]) -> list[str]:
    """The families that measure something on a device; says which do not."""
    left_out = [] if device is CPU else [name for name in families if name in ON_THE_CPU]
    _say_left_out(device, left_out)
    return [name for name in families if name not in left_out]


def _say_left_out(device: Device, names: Sequence[str]) -> None:
    if names:
        print(f"left out on {device.place}, at work on the CPU by nature: {', '.join(names)}")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m bench", description="Benchmarks of rlmrec_fast.")
    parser.add_argument(
        "families", nargs="*", metavar="FAMILY", help=f"of {', '.join(FAMILIES)}; all by default"
    )
    parser.add_argument("--quick", action="store_true", help="short, and large cases smaller")
    parser.add_argument("--only", default="", metavar="TEXT", help="cases whose name has it")
    parser.add_argument("--device", default="cpu", help="cpu (the default) or cuda")
    parser.add_argument("--threads", type=int, default=2, help="torch's threads (default 2)")
    parser.add_argument(
        "--no-compile", dest="compile", action="store_false", help="leave out torch.compile"
    )
    parser.add_argument(
        "--default-allocator",
        action="store_true",
        help="let glibc hand freed tables back to the system, as programs do that say nothing",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write records as JSON lines")
    parser.add_argument(
        "--table",
        type=Path,
        metavar="FILE",
        help="measure nothing; rewrite the READMEs' tables and picture from the records in FILE",
    )
    options = parser.parse_args(arguments)
    unknown = set(options.families) - set(FAMILIES)
    if unknown:
        parser.error(f"FAMILY must be one of {', '.join(FAMILIES)} (got {', '.join(unknown)})")
    if options.threads < 1:
        parser.error(f"--threads must be at least 1 (got {options.threads})")
    return options


if __name__ == "__main__":
    sys.exit(main())
