"""What the CUDA kernels of the built library take: registers and shared memory, by architecture.

    python -m bench.cuda_resources           # checks the library against csrc/cuda/budget.json
    python -m bench.cuda_resources --write   # makes what it takes now the budget

Needs `cuobjdump`, of a CUDA toolkit or of the package index (nvidia-cuda-cuobjdump).
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.report import ROOT

SOURCES = ROOT / "csrc" / "cuda"
BUDGET = SOURCES / "budget.json"
LIBRARY = ROOT / "rlmrec_fast" / "librlmrec_fast.so"
BUILD_INFO = ROOT / "rlmrec_fast" / "build_info.json"

_LAUNCH_BOUNDS = r"(?:__launch_bounds__\s*\((?:[^()]|\([^()]*\))*\)\s*)?"
_KERNEL = re.compile(rf"__global__\s+{_LAUNCH_BOUNDS}void\s+{_LAUNCH_BOUNDS}(\w+)\s*\(")
_RESERVED = 1024
"""Bytes of shared memory that the system keeps of each block from sm_90 on, which counts them."""


@dataclass(frozen=True)
class Usage:
    """What a kernel takes on one architecture.

    Attributes:
        registers: of a thread.
        shared: bytes of static shared memory of a block.
        stack, local: bytes of a thread that lie in device memory; spilled registers are here.
    """

    registers: int
    shared: int
    stack: int = 0
    local: int = 0


Usages = Mapping[str, Mapping[str, Usage]]
"""Kernel with its template arguments -> architecture -> usage."""


def find_cuobjdump() -> str | None:
    """The program on PATH, else the one of this Python environment."""
    packages = Path(sysconfig.get_path("purelib"))
    wheels = sorted(str(path) for path in packages.glob("nvidia/*/bin/cuobjdump"))
    return shutil.which("cuobjdump") or next(iter(wheels), None)


def read_usages(library: Path, cuobjdump: str) -> Usages:
    """What the kernels of a library take."""
    command = [cuobjdump, "-res-usage", str(library)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return parse_usages(done.stdout)


def parse_usages(text: str) -> Usages:
    """The same of what `cuobjdump -res-usage` printed."""
    architecture, function = "", ""
    found: dict[str, dict[str, Usage]] = {}
    for line in text.splitlines():
        if match := re.match(r"arch = (\w+)", line):
            architecture = match[1]
        elif match := re.match(r"\s*Function (\S+):", line):
            function = match[1]
        elif match := re.match(r"\s*REG:(\d+) STACK:(\d+) SHARED:(\d+) LOCAL:(\d+)", line):
            registers, stack, shared, local = map(int, match.groups())
            if int(re.sub(r"\D", "", architecture)) >= 90:
                shared = max(0, shared - _RESERVED)
            usage = Usage(registers, shared, stack, local)
            found.setdefault(function, {})[architecture] = usage
    names = demangle(found)
    return {names[function]: usages for function, usages in found.items()}


def demangle(symbols: Iterable[str]) -> dict[str, str]:
    """Symbol -> kernel with its template arguments, without namespaces and parameters."""
    symbols = list(symbols)
    if not symbols:
        return {}
    text = "\n".join(symbols)
    done = subprocess.run(["c++filt"], input=text, capture_output=True, text=True, check=True)
    return {
        symbol: _short(name) for symbol, name in zip(symbols, done.stdout.splitlines(), strict=True)
    }


def _short(name: str) -> str:
    name = name.replace("(anonymous namespace)::", "").removeprefix("void ")
    depth, begin = 0, 0
    for place, letter in enumerate(name):
        depth += (letter == "<") - (letter == ">")
        if depth == 0 and letter == ":":
            begin = place + 1
        if depth == 0 and letter == "(":
            name = name[:place]
            break
    return name[begin:].replace("rlmrec_fast::", "")


def template_of(kernel: str) -> str:
    """The kernel without its template arguments."""
    return kernel.split("<")[0]


def kernels_in(sources: Path) -> set[str]:
    """Names of the `__global__` functions of a folder."""
    files = [*sources.glob("*.cuh"), *sources.glob("*.cu")]
    return {name for path in files for name in _KERNEL.findall(path.read_text())}


def violations(
    usages: Usages,
    budget: Mapping[str, Mapping[str, int]],
    architectures: Sequence[str],
    kernels: set[str],
) -> list[str]:
    """What is wrong with a library, one line each.

    Args:
        usages: what its kernels take.
        budget: kernel without template arguments -> most registers and bytes of shared memory.
        architectures: those that every kernel must be there for.
        kernels: names in the sources.
    """
    wrong = []
    built = {template_of(kernel) for kernel in usages}
    wrong += [f"{name}: in csrc/cuda, but not in the library" for name in sorted(kernels - built)]
    wrong += [f"{name}: in the budget, but no kernel" for name in sorted(set(budget) - kernels)]
    for kernel, by_architecture in sorted(usages.items()):
        missing = [name for name in architectures if name not in by_architecture]
        if missing:
            wrong.append(f"{kernel}: missing for {', '.join(missing)}")
        allowed = budget.get(template_of(kernel))
        if allowed is None:
            wrong.append(f"{kernel}: not in the budget")
            continue
        for architecture, usage in by_architecture.items():
            where = f"{kernel} on {architecture}"
            if usage.stack or usage.local:
                wrong.append(f"{where}: {usage.stack} bytes of stack, {usage.local} local")
            for name, got in (("registers", usage.registers), ("shared", usage.shared)):
                if got > allowed[name]:
                    wrong.append(f"{where}: {got} {name}, budget {allowed[name]}")
    return wrong


def budget_of(usages: Usages) -> dict[str, dict[str, int]]:
    """The least budget that these usages keep."""
    budget: dict[str, dict[str, int]] = {}
    for kernel, by_architecture in sorted(usages.items()):
        most = budget.setdefault(template_of(kernel), {"registers": 0, "shared": 0})
        for usage in by_architecture.values():
            most["registers"] = max(most["registers"], usage.registers)
            most["shared"] = max(most["shared"], usage.shared)
    return budget


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    parser = argparse.ArgumentParser("python -m bench.cuda_resources", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the budget")
    options = parser.parse_args(arguments)
    cuobjdump = find_cuobjdump()
    architectures = json.loads(BUILD_INFO.read_text()).get("cuda_architectures")
    if cuobjdump is None or not architectures:
        print("cuobjdump not found" if architectures else "the library has no CUDA kernels")
        return 1
    usages = read_usages(LIBRARY, cuobjdump)
    if options.write:
        lines = (f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in budget_of(usages).items())
        BUDGET.write_text("{\n" + ",\n".join(lines) + "\n}\n")
        return 0
    budget = json.loads(BUDGET.read_text())
    wrong = violations(usages, budget, architectures, kernels_in(SOURCES))
    print(*wrong or [f"{len(usages)} kernels keep the budget"], sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
