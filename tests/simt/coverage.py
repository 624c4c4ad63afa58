"""Runs a program built with --coverage and fails unless it executed every line of the kernels.

    python coverage.py PROGRAM SOURCES [GCOV]

PROGRAM: the executable; what it counts lies below its folder. SOURCES: the folder of the kernels.
A kernel that nobody instantiates has no lines to count, so every `__global__` function must have
run, too.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

_BOUNDS = r"(?:__launch_bounds__\s*\((?:[^()]|\([^()]*\))*\)\s*)?"
_KERNEL = re.compile(rf"__global__\s+{_BOUNDS}void\s+{_BOUNDS}(\w+)\s*\(")


def main(arguments: list[str]) -> int:
    program, sources = Path(arguments[0]), Path(arguments[1]).resolve()
    gcov = arguments[2] if len(arguments) > 2 else "gcov"
    for old in program.parent.rglob("*.gcda"):
        old.unlink()
    status = subprocess.run([program.resolve()]).returncode
    if status != 0:
        return status
    lines, functions = _counts(program.parent, sources, gcov)
    missed = [
        f"{path}:{number}: {path.read_text().splitlines()[number - 1].strip()}"
        for path, counts in sorted(lines.items())
        for number, count in sorted(counts.items())
        if count == 0
    ]
    for path in sorted(sources.glob("*.cuh")):
        for name in _KERNEL.findall(path.read_text()):
            if not any(re.search(rf"\b{name}\b", function) for function in functions):
                missed.append(f"{path}: kernel {name} was never launched")
    total = sum(map(len, lines.values()))
    if missed:
        print(*missed, f"{len(missed)} of {total} lines of {sources} never executed", sep="\n")
        return 1
    print(f"all {total} lines of {sources} executed")
    return 0


def _counts(folder: Path, sources: Path, gcov: str) -> tuple[dict[Path, dict[int, int]], set[str]]:
    """How often each line of the sources was executed, and the names of the functions that were."""
    lines: dict[Path, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    functions: set[str] = set()
    for data in sorted(folder.rglob("*.gcda")):
        command = [gcov, "--json-format", "--stdout", "--demangled-names", data]
        report = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        for record in map(json.loads, report.splitlines()):
            base = Path(record["current_working_directory"])
            for file in record["files"]:
                path = (base / file["file"]).resolve()
                if path.parent != sources:
                    continue
                for line in file["lines"]:
                    lines[path][line["line_number"]] += line["count"]
                functions |= {
                    f["demangled_name"] for f in file["functions"] if f["execution_count"]
                }
    return lines, functions


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
