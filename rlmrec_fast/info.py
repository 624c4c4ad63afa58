"""What is installed and what it runs on: ``python -m rlmrec_fast.info``."""

from __future__ import annotations

import platform
from typing import Any

import numpy as np
import torch

from rlmrec_fast import _library, _native
from rlmrec_fast._version import __version__

ISAS = ("baseline", "avx2", "avx512")


def active_isa() -> str:
    """The instruction set that the kernels use: baseline, avx2 or avx512."""
    return ISAS[torch.ops.rlmrec_fast.active_isa(torch.empty(0))]


def report() -> dict[str, dict[str, Any]]:
    """Versions, build, processor and CUDA status, as a dictionary of sections."""
    cpu = _native.cpu_info()
    build = _library.build_info() or {}
    return {
        "versions": {
            "rlmrec_fast": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
        "build": build,
        "processor": {
            **cpu,
            "instruction set in use": active_isa(),
            "threads": torch.get_num_threads(),
        },
        "cuda": {
            "kernels in this build": build.get("cuda_architectures") or "none: built without nvcc",
            "torch built with": torch.version.cuda or "no CUDA",
            "device": (
                torch.cuda.get_device_name() if torch.cuda.is_available() else "none available"
            ),
        },
    }


def main() -> None:
    """Prints the report."""
    for section, entries in report().items():
        print(section)
        for name, value in entries.items():
            shown = " ".join(map(str, value)) if isinstance(value, (list, tuple, set)) else value
            print(f"  {name}: {shown}")


if __name__ == "__main__":
    main()
