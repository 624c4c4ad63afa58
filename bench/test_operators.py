"""The operators under pytest-benchmark: `pytest bench --benchmark-only`."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch

from bench.data import Context
from rlmrec_fast import InteractionGraph, ops


@cache
def graph() -> InteractionGraph:
    return Context().graph


def step() -> None:
    table = torch.randn(graph().num_nodes, 32, requires_grad=True)
    ops.propagate(table, graph(), 3, keep_rate=0.8, seed=1).backward(torch.ones_like(table))


def rank() -> None:
    users, items = torch.randn(graph().num_users, 32), torch.randn(graph().num_items, 32)
    ops.rank(users, items, 20, graph().user_items)


CASES: dict[str, Callable[[], object]] = {
    "propagate, three layers, dropout, forward + backward": step,
    "rank, top 20 of all users": rank,
    "sample_negatives": lambda: ops.sample_negatives(graph(), 1),
}


@pytest.mark.parametrize("name", CASES)
def test_operator(benchmark: Any, name: str) -> None:
    benchmark(CASES[name])
