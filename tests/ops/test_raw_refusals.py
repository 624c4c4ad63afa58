"""Raw operators answer wrong shapes, types and ids with an error, never with a crash or garbage.

Each call runs in a process of its own, as a missing check could read or write anywhere.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import run_isolated

# Changes of one good call, by operator: position of the argument and an expression for it, in which
# `good` is the argument that it replaces.
CHANGES: dict[str, list[tuple[int, str]]] = {
    "propagate": [
        *[(0, x) for x in ("good[:69]", "good[0]", "good.int()", "good[:, None]", "good.bool()")],
        *[(1, x) for x in ("good.int()", "good[:-1]", "good[:0]", "good[None]", "good + 1")],
        *[(2, x) for x in ("good.long()", "good[:-1]", "good[:0]", "good[None]")],
        *[(3, x) for x in ("good[:-1]", "good.double()", "good[:0]", "good.long()")],
        *[(4, x) for x in ("good[:-1]", "good[0]", "good.int()", "good[:0]", "good[:, :1]")],
        *[(5, x) for x in ("good[:0]", "good.repeat(2)", "good.double()", "good.int()")],
        *[(6, f"torch.tensor([0, {row}])") for row in (70, -1, 2**62)],
        *[(6, x) for x in ("torch.tensor([1.5])", "torch.tensor([[1]])", "torch.tensor([True])")],
        (7, "-1"),
        *[(8, x) for x in ("4", "-1")],
        *[(9, x) for x in ("0.0", "1.5", "float('nan')", "-0.5")],
        *[(10, x) for x in ("-1.0", "float('nan')", "float('inf')")],
    ],
    "propagate_backward": [
        *[(0, x) for x in ("good[:-1]", "good[:, :-1]", "good[0]", "good.int()")],
        *[(1, x) for x in ("good[:-1]", "good.int()")],
        (3, "good[:-1]"),
        *[(6, x) for x in ("torch.tensor([1])", "torch.arange(1, 71)")],
        *[(7, x) for x in ("3", "-1")],
        *[(8, x) for x in ("9", "-1")],
        (9, "2.0"),
    ],
    "edge_mask": [
        *[(0, x) for x in ("good[:-1]", "good[:0]", "good.int()", "good + 1")],
        *[(1, x) for x in ("good[:-1]", "good.long()")],
        *[(2, x) for x in ("good[:-1]", "good[0]", "good[:0]")],
        *[(3, x) for x in ("good[:0]", "good.float()")],
        *[(4, x) for x in ("0.0", "2.0")],
    ],
    "spmm": [
        *[(0, x) for x in ("good[:-1]", "good[0]", "good.int()", "good[:0]")],
        *[(1, x) for x in ("good[:-1]", "good.double()", "good.half()")],
        *[(2, x) for x in ("good[:-1]", "good[:0]", "good.int()", "good + 1")],
        *[(3, x) for x in ("good[:-1]", "good.long()")],
        *[(4, x) for x in ("good[:-1]", "good[0]", "good.int()", "good[:0]", "good[:, :1]")],
    ],
    "spmm_backward_values": [
        *[(0, x) for x in ("good[:-1]", "good[:, :-1]", "good.double()", "good[0]")],
        *[(1, x) for x in ("good.double()", "good[:, :-1]", "good[0]", "good.int()")],
        *[(2, x) for x in ("good[:-1]", "good[:0]", "good + 1")],
        *[(3, x) for x in ("good[:-1]", "good.long()")],
        *[(4, x) for x in ("good[:-1]", "good[0]", "good[:0]", "good[:, :1]")],
    ],
    "edge_attention": [
        *[(0, x) for x in ("good[:69]", "good[0]", "good.int()", "good.half()", "good[:, :5]")],
        *[(i, x) for i in (1, 2) for x in ("good[:69]", "good[0]", "good.double()", "good[:, :4]")],
        *[(3, x) for x in ("good.int()", "good[:-1]", "good[:0]", "good[None]", "good + 1")],
        *[(4, x) for x in ("good[:-1]", "good.long()")],
        *[(5, x) for x in ("good[:-1]", "good[0]", "good.int()", "good[:0]", "good[:, :1]")],
        *[(6, x) for x in ("0", "-2", "4", "2**40")],
        *[(7, x) for x in ("0.0", "-1.0", "81.0", "torch.nan")],
        *[(8, x) for x in ("-1e-9", "torch.inf", "torch.nan")],
    ],
    "edge_attention_backward": [
        *[(0, x) for x in ("good[:69]", "good[0]", "good.int()", "good[:, :4]", "good.double()")],
        *[(i, x) for i in (1, 3, 4, 5) for x in ("good[:69]", "good.double()", "good[:, :4]")],
        *[(2, x) for x in ("good[:69]", "good[:, :1]", "good.double()", "good[0]")],
        *[(6, x) for x in ("good[:-1]", "good + 1")],
        *[(7, x) for x in ("good[:-1]", "good.long()")],
        *[(8, x) for x in ("good[:-1]", "good[:0]")],
        *[(9, x) for x in ("0", "4", "1")],
        *[(10, x) for x in ("0.0", "torch.nan")],
    ],
    "adaptive_propagate": [
        *[(0, x) for x in ("good[:69]", "good[0]", "good.int()", "good.double()", "good[:, :4]")],
        *[(1, x) for x in ("good[:69]", "good[0]", "good.half()", "good.double()", "good[:, :4]")],
        *[(2, x) for x in ("good.int()", "good[:-1]", "good[:0]", "good[None]", "good + 1")],
        *[(3, x) for x in ("good[:-1]", "good.long()")],
        *[(4, x) for x in ("good[:-1]", "good[0]", "good.int()", "good[:0]", "good[:, :1]")],
    ],
    "adaptive_propagate_backward": [
        *[(i, x) for i in (0, 1, 3, 4) for x in ("good[:69]", "good.double()", "good[:, :4]")],
        *[(2, x) for x in ("good[:69]", "good[:, :0]", "good.double()", "good[:, 0]")],
        *[(5, x) for x in ("good[:-1]", "good + 1")],
        *[(6, x) for x in ("good[:-1]", "good.long()")],
        *[(7, x) for x in ("good[:-1]", "good[:0]")],
    ],
    "bpr": [
        *[(0, x) for x in ("good[:7]", "good[:, :4]", "good[0]", "good.half()", "good.double()")],
        *[(1, x) for x in ("good[:7]", "good[:, :4]", "good[0]", "good.half()", "good.double()")],
        *[(i, x) for i in (2, 3, 4) for x in ("good[:-1]", "good + 8", "good - 8", "good.int()")],
        *[(i, x) for i in (2, 3, 4) for x in ("good[:, None]", "good.double()")],
    ],
    "bpr_backward": [
        *[(i, x) for i in (0, 1) for x in ("good[:-1]", "good.double()", "good[0]")],
        *[(i, x) for i in (2, 3) for x in ("good[:7]", "good[:, :4]", "good.double()")],
        *[(i, x) for i in (4, 5, 6) for x in ("good[:-1]", "good + 8", "good - 8", "good.int()")],
    ],
    "contrast_losses": [
        *[(0, x) for x in ("good[:7]", "good[:, :4]", "good[0]", "good.half()", "good.double()")],
        *[(1, x) for x in ("good[:, :4]", "good[0]", "good[:0]", "good.double()")],
        *[(2, x) for x in ("good[:7]", "good[:, :4]", "good[0]", "good.double()")],
        *[(3, x) for x in ("good[:-1]", "good - 2", "good * torch.nan", "good.double()")],
        *[(4, x) for x in ("0.0", "-1.0", "torch.inf", "torch.nan")],
        *[(i, x) for i in (5, 6) for x in ("-1.0", "torch.nan")],
        *[(i, x) for i in (7, 8) for x in ("-1", "3")],
    ],
    "contrast_sum": [
        *[(1, x) for x in ("good[:, :4]", "good[:0]")],
        *[(2, x) for x in ("good[:7]", "None")],
        *[(4, x) for x in ("good[:-1]", "good.double()")],
    ],
    "distinct": [
        *[(0, x) for x in ("good + 1", "good - 1", "good.int()", "good[None]", "good.double()")],
        *[(1, x) for x in ("3", "0", "-1")],
    ],
    "gather": [
        *[(0, x) for x in ("good[0]", "good[:8]", "good.int()")],
        *[(1, x) for x in ("good + 1", "good - 4", "good[None]", "good.int()")],
    ],
    "gather_backward": [
        *[(0, x) for x in ("good[0]", "good[:2]", "good.int()")],
        *[(1, x) for x in ("good + 1", "good - 4", "good[None]", "good.int()")],
        *[(2, x) for x in ("8", "-1", "2**31")],
    ],
    "sample_negatives": [
        *[(0, x) for x in ("good[:-1]", "good + 1", "good.flip(0)", "good[:0]", "good.int()")],
        *[(0, x) for x in ("torch.tensor([0, 2**40, 0, 3])", "torch.tensor([0, 2, 1, 3])")],
        *[(1, x) for x in ("good[:-1]", "good.long()", "good[None]")],
        *[(2, x) for x in ("good[:0]", "good.double()")],
        *[(3, x) for x in ("0", "-5", "1")],
    ],
    "draw_subgraphs": [
        *[(0, x) for x in ("good[:-1]", "good + 1", "good.flip(0)", "good[:0]", "good.int()")],
        *[(1, x) for x in ("good[:-1]", "good.long()", "good[None]", "good + 70", "good - 71")],
        (1, "good.flip(0)"),
        *[(2, x) for x in ("good + 67", "good - 4", "good.int()", "good[None]", "good.double()")],
        *[(3, x) for x in ("good[:0]", "good.double()")],
        *[(4, x) for x in ("0", "-3")],
        *[(5, x) for x in ("0.0", "-0.1", "1.5", "torch.nan")],
    ],
    "seed_scores": [
        *[(0, x) for x in ("good[:8]", "good[0]", "good.half()", "good[:, :4]", "good.double()")],
        *[(1, x) for x in ("good[:8]", "good[0]", "good.int()", "good[:, :4]", "good.double()")],
        *[(2, x) for x in ("good[:0]", "good.double()")],
    ],
    "seed_scores_backward": [
        *[(0, x) for x in ("good[:-1]", "good.double()", "good[None]")],
        *[(1, x) for x in ("good[:8]", "good[:, :4]", "good.double()")],
        (2, "good[:8]"),
    ],
    "rank": [
        *[(0, x) for x in ("good[:2]", "good[0]", "good.half()", "good[:, :4]", "good.double()")],
        *[(1, x) for x in ("good[0]", "good.half()", "good[:, :4]", "good.double()")],
        *[(2, x) for x in ("good[:-1]", "good + 1", "good.flip(0)", "good.int()", "None")],
        (2, "torch.tensor([0, 2**40, 0, 3])"),
        *[(3, x) for x in ("good[:-1]", "good.long()", "None")],
        *[(4, x) for x in ("0", "-1", "2**40")],
    ],
    "neighbors": [
        *[(0, x) for x in ("good[0]", "good[None]", "good.half()", "good.int()", "good / 0")],
        *[(0, x) for x in ("good * float('nan')", "good[:1, :1].expand(1, 2**28 + 1)")],
        *[(1, x) for x in ("0", "-1", "2**40")],
    ],
    "neighbor_overlap": [
        *[(0, x) for x in ("good[0]", "good[:2]", "good.int()", "good.float()")],
        *[(0, x) for x in ("torch.zeros_like(good)", "good[:, :1].expand(3, 2)")],
        *[(1, x) for x in ("good[0]", "good[:2]", "good.int()", "torch.ones_like(good)")],
    ],
    "ranking_metrics": [
        *[(0, x) for x in ("good[:2]", "good[0]", "good.int()", "good[:, :1]")],
        *[(1, x) for x in ("good[:-1]", "good + 1", "good.flip(0)", "good.int()")],
        *[(2, x) for x in ("good[:-1]", "good.long()")],
        *[(3, x) for x in ("good - 1", "good + 1", "good.int()", "good[None]")],
    ],
    "stable_sum": [(0, x) for x in ("good.int()", "good.half()", "good.bool()")],
}
CASES = [(name, *change) for name, changes in CHANGES.items() for change in changes]
PRELUDE = """
import sys
sys.path[:0] = {paths}
import rlmrec_fast
from raw_calls import raw_calls
calls = {{name: calls[-1 if name == "rank" else 0] for name, calls in raw_calls().items()}}
"""
CODE = """
name, position, expression = case
call = list(calls[name])
good = call[position]
call[position] = eval(expression)
try:
    with torch.no_grad():
        getattr(torch.ops.rlmrec_fast, name)(*call)
except (ValueError, RuntimeError, TypeError) as error:
    print(type(error).__name__, error)
else:
    raise SystemExit("accepted")
"""


@pytest.fixture(scope="module")
def answers() -> dict[tuple, tuple[int, str]]:
    here = Path(__file__).parent
    prelude = PRELUDE.format(paths=[str(here), str(here.parent)])
    return dict(zip(CASES, run_isolated(CODE, CASES, prelude), strict=True))


@pytest.mark.parametrize("name", CHANGES)
def test_wrong_arguments_of_raw_operators_are_refused(name, answers):
    failures = [
        f"{case}: " + (f"signal {-status}" if status < 0 else output)
        for case, (status, output) in answers.items()
        if case[0] == name and status != 0
    ]
    assert not failures, "\n".join(failures)
