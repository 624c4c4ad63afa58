"""What the tests of several operators share."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

import rlmrec_fast

PACKAGE = Path(rlmrec_fast.__file__).parent


def assert_error_budget(
    ours: Tensor,
    reference: Tensor,
    truth: Tensor,
    tolerance: Tensor | float,
) -> None:
    """|ours - truth| <= |reference - truth| + tolerance, element by element.

    Args:
        ours: result of the operator.
        reference: result of its twin in the same types.
        truth: result of the twin in float64.
        tolerance: tensor like truth, or one number.
    """
    assert ours.shape == reference.shape == truth.shape
    assert ours.dtype == reference.dtype, (ours.dtype, reference.dtype)
    exact, got, twin = (t.detach().double() for t in (truth, ours, reference))
    finite = exact.isfinite()
    assert torch.equal(got.nan_to_num(0.5)[~finite], exact.nan_to_num(0.5)[~finite])
    error = torch.where(finite, got - exact, 0.0).abs()
    budget = torch.where(finite, (twin - exact).abs(), 0.0) + tolerance
    # Written so that NaN fails.
    excess = torch.where(error <= budget, -1.0, error - budget).nan_to_num(torch.inf)
    if excess.numel() == 0 or excess.max() < 0:
        return
    worst = excess.argmax().item()
    place = tuple(int(i) for i in torch.unravel_index(torch.tensor(worst), excess.shape))
    raise AssertionError(
        f"{int((excess >= 0).sum())} of {excess.numel()} elements over budget, most at {place}: "
        f"truth {exact[place]:.9g}, reference {twin[place]:.9g}, ours {got[place]:.9g}, "
        f"error {error[place]:.3g}, budget {budget[place]:.3g}"
    )


def epsilon(dtype: torch.dtype) -> float:
    """Distance from 1 to the next number of a type."""
    return torch.finfo(dtype).eps


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Equal in type, shape and every bit but the payload of NaN."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    if not a.is_floating_point():
        return torch.equal(a, b)
    sign = torch.signbit(a) == torch.signbit(b)
    return bool(((a == b) & sign | a.isnan() & b.isnan()).all())


_FORKS = """
import json, os, sys, tempfile, traceback
import torch  # once for all cases

prelude, code, cases = json.load(sys.stdin)
names = {"torch": torch}
exec(prelude, names)
results = []
for case in cases:
    with tempfile.TemporaryFile("w+") as output:
        child = os.fork()
        if child == 0:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
            try:
                exec(code, names | {"case": case})
                status = 0
            except BaseException:
                traceback.print_exc()
                status = 1
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        output.seek(0)
        results.append([status, output.read()])
json.dump(results, sys.stdout)
"""


def run_isolated(code: str, cases: Sequence[object], prelude: str = "") -> list[tuple[int, str]]:
    """Runs code once per case, each in a process of its own that has done the prelude.

    Args:
        code: Python source that finds its case in `case`, and torch in `torch`.
        cases: values that JSON can hold.
        prelude: Python source run once before, for what is slow and cannot hurt.

    Returns:
        For each case the exit code (1 after an exception, negative after a signal) and the output.
    """
    path = os.pathsep.join([str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", _FORKS],
        input=json.dumps([prelude, code, list(cases)]),
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return [(status, output) for status, output in json.loads(done.stdout)]
