from __future__ import annotations

import gc
import subprocess
import sys

import pytest
import torch
from graphs import make_graph

from rlmrec_fast import memory, ops


def test_working_memory_is_kept_and_can_be_given_back():
    memory.release_scratch()
    graph = make_graph("parts")
    x = torch.randn(graph.num_nodes, 48)
    first = ops.propagate(x, graph, 4, keep_rate=0.7, seed=5)
    kept = memory.release_scratch()
    assert kept >= x.numel() * 4
    assert memory.release_scratch() == 0
    assert torch.equal(ops.propagate(x, graph, 4, keep_rate=0.7, seed=5), first)


def test_working_memory_does_not_grow_beyond_its_bound():
    memory.release_scratch()
    graph = make_graph("parts")
    for d in (1, 1_000, 3, 900, 4_000, 50):
        ops.propagate(torch.randn(graph.num_nodes, d), graph, 2)
    assert 0 < memory.release_scratch() <= 64 << 20


def test_freed_memory_is_kept_on_request():
    script = """
import resource, torch
from rlmrec_fast.memory import keep_freed_memory
keep_freed_memory()
def touch():
    [torch.zeros(7_500_000) for _ in range(6)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
counts = [touch() for _ in range(6)]
print(min(after - before for before, after in zip(counts, counts[1:])))
"""
    faults = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout
    # A round touches 44,000 pages, more than glibc keeps by itself.
    assert int(faults) < 4_000


def test_collections_walk_what_exists_again_afterwards_and_after_errors():
    before = gc.get_freeze_count()
    with memory.settled():
        assert gc.get_freeze_count() > before + 1000
    assert gc.get_freeze_count() == 0
    with pytest.raises(KeyError), memory.settled():
        raise KeyError
    assert gc.get_freeze_count() == 0
