"""The listing of CUDA kernels."""

from __future__ import annotations

from dataclasses import fields

import pytest

from bench.cuda_kernels import (
    SIZES,
    WORK,
    Work,
    access_lines,
    occupancy,
    resource_lines,
    work_lines,
)
from bench.cuda_resources import Usage

LAUNCH = {"launch": "(sum_blocks<T, true>)", "block": [256, 1, 1], "dynamic_shared": 1024}


@pytest.mark.parametrize(
    ("usage", "threads", "dynamic", "share"),
    [
        (Usage(32, 0), 256, 0, 1.0),
        (Usage(33, 0), 256, 0, 0.75),  # 40 registers a thread, in units of 8
        (Usage(255, 0), 256, 0, 0.125),
        (Usage(16, 100 * 1024), 128, 0, 0.125),
        (Usage(16, 0), 128, 200 * 1024, 0.0625),
        (Usage(16, 0), 32, 0, 0.5),  # 32 blocks at most
    ],
)
def test_occupancy_is_what_registers_shared_memory_and_blocks_allow(usage, threads, dynamic, share):
    assert occupancy(usage, threads, dynamic) == share


def test_blocks_of_the_emulation_are_found_by_template():
    *_, line = resource_lines({"sum_blocks": Usage(32, 64)}, [LAUNCH])
    assert line == "| sum_blocks | 32 | 1,088 | 256 | 100% |"


def test_accesses_are_added_up_by_line():
    access = {"access": "(sum_blocks<T, true>)", "where": "reduce.cuh:18"}
    access |= {"shared": False, "write": False}
    access |= {"requests": 2, "bytes": 256, "units": 8, "ideal": 8, "worst": 4}
    *_, line = access_lines([access, access | {"units": 16, "worst": 8}, LAUNCH])
    assert line == "| sum_blocks | reduce.cuh:18 | global read | 4 | 128.0 | 6.00 | 4.00 | 8 |"


def test_floors_are_the_longest_of_memory_cache_and_arithmetic():
    amazon = SIZES[0]
    assert WORK["propagate_rows"](amazon).floor_us() == pytest.approx(5.6, rel=0.01)
    assert WORK["rank_users"](amazon).floor_us() == pytest.approx(98, rel=0.01)
    assert WORK["contrast_mma, info_nce"](amazon).floor_us() == pytest.approx(24, rel=0.02)
    for limit in fields(Work):
        assert Work(**{"streamed": 0, limit.name: 1e12}).floor_us() > 1e3
    assert len(work_lines()) == 2 + len(WORK) * len(SIZES)
