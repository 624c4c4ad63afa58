"""`python -m bench [FAMILY ...]`: measures and prints; see bench/README.md."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from bench.data import Context
from bench.environment import environment
from bench.figure import draw
from bench.floor import measure_peaks
from bench.harness import FULL, QUICK, run
from bench.report import (
    ROOT,
    close_or_lost,
    family_table,
    read_records,
    rewrite_tables,
    write_records,
)
from rlmrec_fast.memory import keep_freed_memory

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
)


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
        draw(records, ROOT / "docs" / "speed.svg")
        return 0
    torch.set_num_threads(options.threads)
    if not options.default_allocator:
        keep_freed_memory()
    context = Context("quick" if options.quick else "full", options.threads, options.compile)
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
        context: size, threads, data.
        only: part of the names of the cases to measure.
        out: where the records go, written anew after every case.
        default_allocator: what to say of the allocator: untouched, or told to keep freed memory.

    Returns:
        The records.
    """
    where = environment(context.data)
    where["allocator"] = "glibc, " + ("default" if default_allocator else "freed memory kept")
    peaks = measure_peaks()
    where["peaks"] = {"flops": peaks.flops, "bandwidth": peaks.bandwidth}
    for name, value in where.items():
        print(f"{name}: {value}")
    budget = QUICK if context.size == "quick" else FULL
    records: list[dict[str, Any]] = []
    for family in families:
        for case in import_module(f"bench.{family}").cases(context):
            if only not in case.name:
                continue
            new = [record.as_dict() for record in run(case, budget, peaks, where)]
            print(f"\n{family_table(new)}", flush=True)
            records += new
            if out is not None:
                write_records(out, records)
    print(f"\nClose or lost:\n{close_or_lost(records)}")
    return records


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m bench", description="Benchmarks of rlmrec_fast.")
    parser.add_argument(
        "families", nargs="*", metavar="FAMILY", help=f"of {', '.join(FAMILIES)}; all by default"
    )
    parser.add_argument("--quick", action="store_true", help="short, and large cases smaller")
    parser.add_argument("--only", default="", metavar="TEXT", help="cases whose name has it")
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
