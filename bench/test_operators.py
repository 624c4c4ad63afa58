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


def info_nce() -> None:
    sizes = (4096, 4096, graph().num_users)
    tables = [torch.randn(rows, 32, requires_grad=True) for rows in sizes]
    ops.info_nce(*tables, temperature=0.2).backward()


def reconstruction_loss() -> None:
    rebuilt, texts = torch.randn(2, 3050, 384)
    ops.reconstruction_loss(rebuilt.requires_grad_(), texts, temperature=0.5).backward()


CASES: dict[str, Callable[[], object]] = {
    "propagate, three layers, dropout, forward + backward": step,
    "rank, top 20 of all users": rank,
    "info_nce, a batch and all users, forward + backward": info_nce,
    "reconstruction_loss, forward + backward": reconstruction_loss,
    "neighbors, the 100 nearest of all items": lambda: ops.neighbors(
        torch.randn(graph().num_items, 64), 100
    ),
    "sample_negatives": lambda: ops.sample_negatives(graph(), 1),
}


@pytest.mark.parametrize("name", CASES)
def test_operator(benchmark: Any, name: str) -> None:
    benchmark(CASES[name])
