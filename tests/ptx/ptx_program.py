"""Reads the PTX that nvcc emits: kernels with their parameters, registers and instructions."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]

TYPES: dict[str, np.dtype] = {
    "pred": np.dtype(np.bool_),
    "f16": np.dtype(np.float16),
    "f32": np.dtype(np.float32),
    "f64": np.dtype(np.float64),
    **{f"{kind}{bits}": np.dtype(f"u{bits // 8}") for kind in "bu" for bits in (8, 16, 32, 64)},
    **{f"s{bits}": np.dtype(f"i{bits // 8}") for bits in (8, 16, 32, 64)},
}

Operand = str | list[str]


class PtxError(Exception):
    """The program did what it must not, or something that the interpreter does not know."""


@dataclass(frozen=True)
class Instruction:
    """One instruction.

    Attributes:
        guard: predicate that must hold, as `%p1` or `!%p1`; "" for none.
        words: the opcode, split at its dots.
        operands: as written; vectors in braces are lists.
    """

    guard: str
    words: tuple[str, ...]
    operands: tuple[Operand, ...]

    @property
    def opcode(self) -> str:
        return ".".join(self.words)


@dataclass
class Kernel:
    """One kernel.

    Attributes:
        name: its symbol.
        parameters: name -> place in the bytes of all parameters, size, type ("" for structs).
        parameter_bytes: size of all parameters.
        registers: name -> type of its array; unsigned but for predicates.
        shared: name of a shared variable -> place; None for the dynamic one.
        shared_bytes: size of the static ones.
        code: the instructions.
        labels: label -> index in the code.
    """

    name: str
    parameters: dict[str, tuple[int, int, str]] = field(default_factory=dict)
    parameter_bytes: int = 0
    registers: dict[str, np.dtype] = field(default_factory=dict)
    shared: dict[str, int | None] = field(default_factory=dict)
    shared_bytes: int = 0
    code: list[Instruction] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)


def compile_ptx(source: Path, architecture: int = 90) -> str:
    """The PTX of a CUDA file, as the build would compile it."""
    nvcc = find_nvcc()
    assert nvcc is not None
    command = [nvcc, "-std=c++20", "-O3", f"-I{ROOT / 'csrc'}", "--expt-relaxed-constexpr", "-ptx"]
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "kernels.ptx"
        command += [f"-arch=compute_{architecture}", str(source), "-o", str(output)]
        subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
        return output.read_text()


def find_nvcc() -> str | None:
    """The program on PATH, else that of a toolkit in its usual place."""
    return shutil.which("nvcc") or shutil.which("/usr/local/cuda/bin/nvcc")


def parse(text: str) -> dict[str, Kernel]:
    """The kernels of a PTX file by symbol."""
    text = re.sub(r"//[^\n]*", "", text)
    outside = re.findall(
        r"^(?:\.\w+ )*\.shared\s+\.align\s+(\d+)\s+\.b8\s+([\w$]+)\[(\d*)\];", text, re.M
    )
    found = {}
    entry = re.compile(r"\.entry\s+([\w$]+)\s*\((.*?)\)[^{]*^\{(.*?)^\}", re.S | re.M)
    for name, parameters, body in entry.findall(text):
        kernel = Kernel(name)
        _read_parameters(kernel, parameters)
        inside = re.findall(r"\.shared\s+\.align\s+(\d+)\s+\.b8\s+([\w$]+)\[(\d*)\];", body)
        _place_shared(kernel, inside + [entry for entry in outside if entry[1] in body])
        _read_registers(kernel, body)
        _read_code(kernel, body)
        found[name] = kernel
    return found


def _read_parameters(kernel: Kernel, text: str) -> None:
    end = 0
    for part in filter(None, map(str.strip, text.split(","))):
        if struct := re.match(r"\.param\s+\.align\s+(\d+)\s+\.b8\s+([\w$]+)\[(\d+)\]$", part):
            align, name, size, kind = int(struct[1]), struct[2], int(struct[3]), ""
        else:
            kind = re.match(r"\.param\s+\.(\w+)", part)[1]
            name = part.split()[-1]
            align = size = TYPES[kind].itemsize
        place = -(-end // align) * align
        kernel.parameters[name] = (place, size, kind)
        end = place + size
    kernel.parameter_bytes = end


def _place_shared(kernel: Kernel, variables: list[tuple[str, str, str]]) -> None:
    end = 0
    for align, name, size in variables:
        if not size:
            kernel.shared[name] = None
            continue
        place = -(-end // int(align)) * int(align)
        kernel.shared[name] = place
        end = place + int(size)
    kernel.shared_bytes = end


def _read_registers(kernel: Kernel, body: str) -> None:
    for kind, names in re.findall(r"(?<!\w)\.reg\s+\.(\w+)\s+([^;]+);", body):
        # Unsigned, whatever the type: instructions say how they read the bits.
        bits = re.sub(r"\D", "", kind)
        dtype = TYPES["pred" if kind == "pred" else f"b{bits}"]
        for name in map(str.strip, names.split(",")):
            numbered = re.match(r"([%\w$]+)<(\d+)>$", name)
            every = [f"{numbered[1]}{i}" for i in range(int(numbered[2]))] if numbered else [name]
            kernel.registers.update(dict.fromkeys(every, dtype))


def _read_code(kernel: Kernel, body: str) -> None:
    body = re.sub(r"(?<!\w)\.(?:reg|shared)\b[^;]*;", "", body)
    body = re.sub(r"^\s*\.(?:loc|pragma|file)\b[^\n]*$", "", body, flags=re.M)
    if unknown := re.search(r"(?<!\w)\.(?:local|branchtargets|callprototype)\b", body):
        raise PtxError(f"{kernel.name}: {unknown[0]} is not interpreted")
    statement = re.compile(
        r"([\w$]+):(?!:)"  # a label
        r"|(?:@(!?%[\w$]+)\s+)?([a-z][\w.:]*)\s*([^;]*);"  # guard, opcode, operands
    )
    for label, guard, opcode, operands in statement.findall(body):
        if label:
            kernel.labels[label] = len(kernel.code)
        else:
            words = tuple(re.sub(r"::", "_", opcode).split("."))
            kernel.code.append(Instruction(guard, words, _operands(operands)))


def _operands(text: str) -> tuple[Operand, ...]:
    parts = re.findall(r"\{[^}]*\}|\[[^\]]*\]|[^,\s][^,]*", text)
    return tuple(
        [part.strip() for part in whole[1:-1].split(",")] if whole.startswith("{") else whole
        for whole in map(str.strip, parts)
    )
