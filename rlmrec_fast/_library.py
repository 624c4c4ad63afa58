"""Finds and loads the native libraries, or says what was built, what was found, and the cure."""

from __future__ import annotations

import importlib
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import torch

from rlmrec_fast._version import __version__

HERE = Path(__file__).parent
OPERATORS = HERE / "librlmrec_fast.so"
BUILD_INFO = HERE / "build_info.json"
CURE = (
    "Build it for this environment with\n"
    "    pip install --no-build-isolation --force-reinstall --no-deps rlmrec-fast\n"
    "or, in a clone of the repository,\n"
    "    pip install --no-build-isolation -e ."
)

NAMESPACE = "rlmrec_fast::"
# Kernels go with the object that registered them.
_refusals = torch.library.Library("rlmrec_fast", "IMPL")

refused: set[str] = set()
"""The operators that refuse CUDA tensors, because this build has no kernel for them."""


class LibraryLoadError(ImportError):
    """A native library of rlmrec_fast is missing, or does not fit this Python or torch."""


def build_info() -> dict[str, Any] | None:
    """What the native libraries were built with, or None where nothing was built."""
    try:
        info: dict[str, Any] = json.loads(BUILD_INFO.read_text())
    except (OSError, ValueError):
        return None
    return info


def load() -> None:
    """Loads both libraries.

    Raises:
        LibraryLoadError: one is missing, of another version, or cannot be loaded.
        ValueError: RLMREC_FAST_ISA is no instruction set of this machine.
    """
    if not OPERATORS.exists():
        raise LibraryLoadError(_explain(f"{OPERATORS.name} is missing"))
    if not _is_whole(OPERATORS):
        raise LibraryLoadError(_explain(f"{OPERATORS.name} cannot be loaded: it is cut off"))
    built = (build_info() or {}).get("version", __version__)
    if built != __version__:
        problem = f"the libraries must be of version {__version__} (got {built})"
        raise LibraryLoadError(_explain(problem))
    try:
        torch.ops.load_library(str(OPERATORS))
    except OSError as error:
        raise LibraryLoadError(_explain(f"{OPERATORS.name} cannot be loaded: {error}")) from error
    try:
        importlib.import_module("rlmrec_fast._native")
    except ImportError as error:
        raise LibraryLoadError(_explain(f"_native cannot be imported: {error}")) from error
    # Reads RLMREC_FAST_ISA: inside a kernel's threads a wrong one would be told less plainly.
    torch.ops.rlmrec_fast.active_isa(torch.empty(0))
    _refuse_cuda_without_kernels()


def _refuse_cuda_without_kernels() -> None:
    for full_name in torch._C._dispatch_get_all_op_names():
        if not full_name.startswith(NAMESPACE):
            continue
        if not torch._C._dispatch_has_kernel_for_dispatch_key(full_name, "CUDA"):
            name = full_name.removeprefix(NAMESPACE)
            _refusals.impl(name, _refusal(name), "CUDA")
            refused.add(name)


def _refusal(name: str) -> Callable[..., NoReturn]:
    """What answers a call with CUDA tensors where there is no kernel for them."""
    built = bool((build_info() or {}).get("cuda"))
    problem = "no CUDA kernel in this version" if built else "this build has no CUDA kernels"
    cure = "" if built else " or build where nvcc is (see README.md)"

    def refuse(*_: object, **__: object) -> NoReturn:
        raise NotImplementedError(f'{name}: {problem}; use device="cpu"{cure}')

    return refuse


def _is_whole(path: Path) -> bool:
    """Whether the file reaches to the end of its section table, the last part of a library.

    The system's loader does not look, and a read past the end of a file kills the process.
    """
    with path.open("rb") as file:
        header = file.read(64)
    if len(header) < 64 or header[:5] != b"\x7fELF\x02":
        return False
    table, entry_size, entries = struct.unpack_from("<40xQ10xHH", header)
    return bool(path.stat().st_size >= table + entry_size * entries)


def _explain(problem: str) -> str:
    info = build_info()
    built = (
        "nothing (no build_info.json)"
        if info is None
        else f"version {info.get('version')} for Python {info.get('python')}, "
        f"torch {info.get('torch')}, with {info.get('compiler')}"
    )
    files = sorted(path.name for path in HERE.glob("*.so")) or ["no library"]
    return (
        f"rlmrec_fast: {problem}\n"
        f"  built: {built}\n"
        f"  found: {', '.join(files)} in {HERE}; running torch {torch.__version__}\n"
        f"{CURE}"
    )
