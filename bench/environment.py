"""Where a result comes from: machine, versions, commit."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

from rlmrec_fast import info

_ROOT = Path(__file__).resolve().parents[1]


def environment(data: str) -> dict[str, Any]:
    """What a figure means nothing without.

    Args:
        data: what the real-data cases ran on.
    """
    report = info.report()
    return {
        "cpu": report["processor"].get("brand", platform.processor()),
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "isa": info.active_isa(),
        "load": round(os.getloadavg()[0], 2),
        "os": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "rlmrec_fast": report["versions"]["rlmrec_fast"],
        "compiler": report["build"].get("compiler", "unknown"),
        "commit": commit(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "data": data,
    }


def commit() -> str:
    """The commit of the working tree, with `+` if it was changed since; `unknown` outside git."""
    head = _git("rev-parse", "--short=12", "HEAD")
    if head is None:
        return "unknown"
    changed = _git("status", "--porcelain", "--untracked-files=no")
    return head + ("+" if changed else "")


def _git(*arguments: str) -> str | None:
    command = ["git", "--no-optional-locks", "-C", str(_ROOT), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
