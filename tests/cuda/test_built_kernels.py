"""What the built library holds for GPUs: every kernel for every architecture, within its budget."""

from __future__ import annotations

import json

import pytest

from bench.cuda_resources import (
    BUDGET,
    LIBRARY,
    SOURCES,
    Usage,
    budget_of,
    find_cuobjdump,
    kernels_in,
    parse_usages,
    read_usages,
    violations,
)
from rlmrec_fast._library import build_info

PRINTED = """
Fatbin elf code:
================
arch = sm_80
Resource usage:
 Function _ZN11rlmrec_fast4cuda10sum_blocksIfLb1EEEvPKT_lPd:
  REG:30 STACK:0 SHARED:32 LOCAL:0 CONSTANT[0]:376 TEXTURE:0 SURFACE:0 SAMPLER:0
 Function _ZN11rlmrec_fast4cuda6simpleEPf:
  REG:8 STACK:0 SHARED:0 LOCAL:0 CONSTANT[0]:376 TEXTURE:0 SURFACE:0 SAMPLER:0
arch = sm_90
Resource usage:
 Function _ZN11rlmrec_fast4cuda10sum_blocksIfLb1EEEvPKT_lPd:
  REG:32 STACK:0 SHARED:1056 LOCAL:0 CONSTANT[0]:552 TEXTURE:0 SURFACE:0 SAMPLER:0
 Function _ZN11rlmrec_fast4cuda6simpleEPf:
  REG:9 STACK:0 SHARED:1024 LOCAL:0 CONSTANT[0]:376 TEXTURE:0 SURFACE:0 SAMPLER:0
"""
KERNELS = {"sum_blocks", "simple"}


def test_what_is_printed_is_read():
    assert parse_usages(PRINTED) == {
        "sum_blocks<float, true>": {"sm_80": Usage(30, 32), "sm_90": Usage(32, 32)},
        "simple": {"sm_80": Usage(8, 0), "sm_90": Usage(9, 0)},
    }


def test_every_violation_is_named():
    usages = parse_usages(PRINTED)
    budget = budget_of(usages)
    assert violations(usages, budget, ["sm_80", "sm_90"], KERNELS) == []
    budget["sum_blocks"]["registers"] = 31
    budget["old"] = {"registers": 1, "shared": 1}
    usages["simple"]["sm_80"] = Usage(8, 4, stack=16)
    usages["new"] = {"sm_80": Usage(1, 0)}
    assert violations(usages, budget, ["sm_80", "sm_90"], KERNELS | {"new", "unused"}) == [
        "unused: in csrc/cuda, but not in the library",
        "old: in the budget, but no kernel",
        "new: missing for sm_90",
        "new: not in the budget",
        "simple on sm_80: 16 bytes of stack, 0 local",
        "simple on sm_80: 4 shared, budget 0",
        "sum_blocks<float, true> on sm_90: 32 registers, budget 31",
    ]


def test_kernels_are_found_in_sources(tmp_path):
    (tmp_path / "a.cuh").write_text(
        "__global__ void one(int n) {}\n"
        "template <class T>\n__global__ void __launch_bounds__(kThreads)\n    two(T* x) {}\n"
        "__global__ void __launch_bounds__(threads(3), 2) three() {}\n"
        "__global__ __launch_bounds__(32) void four() {}\n"
    )
    assert kernels_in(tmp_path) == {"one", "two", "three", "four"}


def test_every_kernel_is_built_for_every_architecture_within_its_budget():
    architectures = (build_info() or {}).get("cuda_architectures")
    cuobjdump = find_cuobjdump()
    if not architectures:
        pytest.skip("the library has no CUDA kernels")
    if cuobjdump is None:
        pytest.skip("cuobjdump not found")
    assert architectures == ["sm_80", "sm_90", "sm_100", "sm_120"]
    usages = read_usages(LIBRARY, cuobjdump)
    wrong = violations(usages, json.loads(BUDGET.read_text()), architectures, kernels_in(SOURCES))
    assert not wrong, "\n".join([*wrong, "accept with python -m bench.cuda_resources --write"])
