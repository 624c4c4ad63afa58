"""Whole kernels with inline assembly, executed as the PTX that nvcc makes of them."""

from __future__ import annotations

import struct
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from ptx_arithmetic import to_bf16
from ptx_grid import run
from ptx_memory import Memory
from ptx_program import compile_ptx, find_nvcc, parse
from ptx_warp import from_bf16

pytestmark = pytest.mark.skipif(find_nvcc() is None, reason="nvcc not found")

SOURCE = Path(__file__).with_name("passes.cu")
TILE = 64
THREADS = 128
PASS = "<2Q4q2Qf?3x3Q"
"""PassArgs: own, others, num_tiles, tiles_per_split, own_rows, width, factors, shifts, shift,
running, totals, maxima, sums."""
PREPARE = "<2Q5qdf4x4Q"
"""PrepareArgs, in the order of csrc/cuda/contrast_rows.cuh."""
GRADIENT = "<4q3Q??6xQq3Qf4x5Q"
"""GradientArgs, likewise."""
LAYER = "<2Q2q3Qd?7x2QqdQqQqQqQqqf4xQqQ"
"""LayerArgs, in the order of csrc/cuda/propagate.h."""
EDGES = "<2Q5qf4x8QQ?7xQ?7x2Qf4xQ"
"""EdgeArgs, in the order of csrc/cuda/edges.h."""

# Symbol of the kernel, elements of a chunk, and how exact factors are.
FORMS = {
    "fma": ("contrast_fmaIf", 32, 1e-5),
    "tf32": ("contrast_mmaILb0E", 32, 2e-3),
    "bf16": ("contrast_mmaILb1E", 64, 2e-2),
}


@pytest.fixture(scope="module")
def kernels():
    return parse(compile_ptx(SOURCE))


def find(kernels, *parts):
    (kernel,) = (k for name, k in kernels.items() if all(part in name for part in parts))
    return kernel


def stored(table, form):
    """How a table's elements are stored, and what they then are."""
    if form == "bf16":
        bits = to_bf16(table).astype(np.uint16)
        return bits, from_bf16(bits.astype(np.uint32)).astype(np.float64)
    if form == "tf32":
        bits = (table.view(np.uint32) + np.uint32(0x1000)) & np.uint32(0xFFFFE000)
        return bits, bits.view(np.float32).astype(np.float64)
    return table, table.astype(np.float64)


@pytest.mark.parametrize("running", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_forward_pass(kernels, form, running):
    name, width, tolerance = FORMS[form]
    rng = np.random.default_rng(2)
    size = np.float32(0.6 if running else 0.2)
    own, others = (rng.standard_normal((n, width), np.float32) * size for n in (TILE, 2 * TILE))
    factors = rng.integers(0, 3, 2 * TILE).astype(np.float32)
    own_bits, q = stored(own, form)
    other_bits, k = stored(others, form)
    t = q @ k.T
    shift = np.where(factors > 0, t, -np.inf).max(axis=1) if running else np.full(TILE, 2.0)
    powers = np.where(factors > 0, factors * np.exp2(t - shift[:, None]), 0)

    memory = Memory()
    totals = memory.output(TILE, np.float64)
    maxima = memory.output(TILE, np.float32)
    sums = memory.output(TILE * width, np.float32)
    tables = (memory.input(own_bits), memory.input(other_bits))
    sizes = (2, 2, TILE, width)
    outputs = (totals, maxima, sums)
    arguments = struct.pack(PASS, *tables, *sizes, memory.input(factors), 0, 2.0, running, *outputs)
    run(find(kernels, name, "Li1E"), memory, [1, 1], [THREADS], [arguments])
    np.testing.assert_allclose(memory.get(totals, TILE, np.float64), powers.sum(1), rtol=1e-5)
    found = memory.get(sums, TILE * width, np.float32).reshape(TILE, width)
    wanted = powers @ k
    np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance * np.abs(wanted).max())
    if running:
        np.testing.assert_allclose(memory.get(maxima, TILE, np.float32), shift, rtol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_push_in_two_splits_of_two_chunks(kernels, form):
    name, chunk, tolerance = FORMS[form]
    width = 2 * chunk
    rng = np.random.default_rng(3)
    size = np.float32(0.1)
    own, others = (rng.standard_normal((n, width), np.float32) * size for n in (TILE, 2 * TILE))
    factors = rng.standard_normal(2 * TILE).astype(np.float32)
    shifts = rng.standard_normal(2 * TILE).astype(np.float32)
    own_bits, q = stored(own, form)
    other_bits, k = stored(others, form)
    powers = factors * np.exp2(q @ k.T - shifts)

    memory = Memory()
    sums = memory.output(2 * TILE * width, np.float32)
    tables = (memory.input(own_bits), memory.input(other_bits))
    sizes = (2, 1, TILE, width)
    columns = (memory.input(factors), memory.input(shifts))
    arguments = struct.pack(PASS, *tables, *sizes, *columns, 0.0, False, 0, 0, sums)
    run(find(kernels, name, "Li0E"), memory, [1, 2], [THREADS], [arguments])
    found = memory.get(sums, 2 * TILE * width, np.float32).reshape(2, TILE, width)
    for split in range(2):
        part = slice(split * TILE, (split + 1) * TILE)
        wanted = powers[:, part] @ k[part]
        limit = tolerance * np.abs(wanted).max()
        np.testing.assert_allclose(found[split], wanted, rtol=0, atol=limit)


def unit_rows(table, eps):
    return table.astype(np.float64) / np.sqrt(eps + (table.astype(np.float64) ** 2).sum(1))[:, None]


@pytest.mark.parametrize(
    ("form", "symbol"), [("tf32", "prepare_rowsIfj"), ("bf16", "prepare_rowsIft")]
)
def test_rows_as_they_are_stored(kernels, form, symbol):
    rows, d, width, scale = 5, 37, 64, 7.2
    table = np.random.default_rng(5).standard_normal((rows, d + 2), np.float32)
    dtype = np.uint32 if form == "tf32" else np.uint16
    memory = Memory()
    inverse, factors = (memory.output(8, np.float32) for _ in range(2))
    packed = memory.output(8 * width, dtype)
    sizes = (rows, 8, d, width, 1)  # Normalize::root
    outputs = (0, inverse, packed, factors)
    arguments = struct.pack(PREPARE, memory.input(table), d + 2, *sizes, 1e-8, scale, *outputs)
    run(find(kernels, symbol), memory, [1], [256], [arguments])
    bits = memory.get(packed, 8 * width, dtype).reshape(8, width)
    found = bits.view(np.float32) if form == "tf32" else from_bf16(bits.astype(np.uint32))
    wanted = np.zeros((8, width))
    wanted[:rows, :d] = unit_rows(table[:, :d], 1e-8) * scale
    np.testing.assert_allclose(found, wanted, rtol=2.0**-11 if form == "tf32" else 2.0**-8, atol=0)
    assert form == "bf16" or not (bits & 0x1FFF).any()
    np.testing.assert_array_equal(memory.get(factors, 8, np.float32), np.arange(8) < rows)


@pytest.mark.parametrize("rounds", [False, True])
def test_gradients_of_rows_that_splits_add_to(kernels, rounds):
    rows, d, width = 3, 37, 64
    rng = np.random.default_rng(6)
    x = rng.standard_normal((rows, d), np.float32)
    sums = rng.standard_normal((2, 4, width), np.float32)
    maxima = rng.standard_normal((2, 4), np.float32)
    shifts, factors = maxima.max(0), rng.standard_normal(4, np.float32)
    inverse = (1 / np.sqrt((x**2).sum(1))).astype(np.float32)
    memory = Memory()
    y = memory.output(rows * d, np.float32)
    arguments = struct.pack(
        GRADIENT,
        *(rows, 4, d, width, memory.input(x), d, memory.input(inverse), True, rounds),
        *(memory.input(sums), 2, memory.input(maxima), memory.input(shifts)),
        *(memory.input(factors), 0.5, 0, 0, 0, 0, y),
    )
    run(find(kernels, "gradient_rows"), memory, [1], [256], [arguments])
    g = np.einsum("sr,srw->rw", np.exp2(maxima - shifts), sums)[:rows, :d] * 0.5
    g *= factors[:rows, None]
    n = x * inverse[:, None]
    if rounds:
        n = from_bf16(to_bf16(n)).reshape(rows, d)
    wanted = inverse[:, None] * (g - n * ((n * g).sum(1) / (n * n).sum(1))[:, None])
    found = memory.get(y, rows * d, np.float32).reshape(rows, d)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("symbol", "dtype"), [("8BFloat16", "bf16"), ("7Float16", "f16")])
def test_layer_of_a_table_of_16_bits(kernels, symbol, dtype):
    offsets = np.cumsum([0, 0, 3, 33, 1]).astype(np.int64)
    rng = np.random.default_rng(7)
    columns = rng.integers(0, 9, offsets[-1]).astype(np.int32)
    table = rng.standard_normal((9, 32), np.float32)
    scale = rng.random(9, np.float32)
    if dtype == "bf16":
        bits = to_bf16(table).astype(np.uint16)
        x = from_bf16(bits.astype(np.uint32))
    else:
        bits, x = table.astype(np.float16).view(np.uint16), table.astype(np.float16)
    memory = Memory()
    y = memory.output(4 * 32, np.uint16)
    arguments = struct.pack(
        LAYER,
        *(memory.input(offsets), memory.input(columns), 4, int(offsets[-1])),
        *(0, memory.input(scale), 0, 1.0, False, 0, 0, 0, 0.0),
        *(memory.input(bits), 32, 0, 0, 0, 0, y, 32, 32, 1.0, 0, 4, 0),
    )
    run(find(kernels, "propagate_rows", f"{symbol}EE"), memory, [1], [256], [arguments])
    weighted = x.reshape(9, 32).astype(np.float64) * scale[:, None]
    wanted = np.stack([weighted[columns[a:b]].sum(0) for a, b in pairwise(offsets)])
    found = memory.get(y, 4 * 32, np.uint16)
    found = from_bf16(found.astype(np.uint32)) if dtype == "bf16" else found.view(np.float16)
    tolerance = 2.0**-8 if dtype == "bf16" else 2.0**-10
    np.testing.assert_allclose(found.reshape(4, 32), wanted, rtol=tolerance, atol=1e-4)


def test_sums_over_edges(kernels):
    rng = np.random.default_rng(4)
    offsets = np.cumsum([0, 0, 3, 33, 1]).astype(np.int64)
    columns = rng.integers(0, 9, offsets[-1]).astype(np.int32)
    tables = rng.standard_normal((4, 9, 32), np.float32) * np.float32(0.3)
    shifts = rng.standard_normal(9).astype(np.float32)
    limit, eps = 0.2, 1e-3
    memory = Memory()
    slopes, powers = (memory.output(4 * 32, np.float32) for _ in range(2))
    inverses = memory.output(4, np.float32)
    arguments = struct.pack(
        EDGES,
        *(memory.input(offsets), memory.input(columns)),
        *(4, int(offsets[-1]), 1, 32, 0, limit),
        *(field for table in tables for field in (memory.input(table), 32)),
        *(memory.input(shifts), True, slopes, False, powers, inverses, eps, 0),
    )
    run(find(kernels, "edge_rows"), memory, [1], [THREADS], [arguments])
    own_first, own_second, first, second = tables.astype(np.float64)
    wanted = np.zeros((2, 4, 32))
    totals = np.zeros(4)
    for row in range(4):
        for node in columns[offsets[row] : offsets[row + 1]]:
            score = own_first[row] @ first[node]
            power = np.exp(np.clip(score, -limit, limit))
            slope = power * (abs(score) <= limit)
            totals[row] += power
            wanted[0, row] += slope * (own_second[row] @ second[node] + shifts[row]) * first[node]
            wanted[1, row] += power * second[node]
    inverse = np.where(totals > 0, 1 / (totals + eps), 0)
    wanted[1] *= inverse[:, None]
    for place, expected in ((slopes, wanted[0]), (powers, wanted[1])):
        found = memory.get(place, 128, np.float32).reshape(4, 32)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(memory.get(inverses, 4, np.float32), inverse, rtol=1e-5)
