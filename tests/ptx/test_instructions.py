"""The functions of csrc/cuda/ptx.h, executed as the PTX that nvcc makes of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ptx_arithmetic import to_bf16
from ptx_grid import run
from ptx_memory import Memory
from ptx_program import PtxError, compile_ptx, find_nvcc, parse
from ptx_warp import from_bf16

pytestmark = pytest.mark.skipif(find_nvcc() is None, reason="nvcc not found")

SOURCE = Path(__file__).with_name("instructions.cu")
ONE = np.uint32(0x3F800000)


@pytest.fixture(scope="module")
def text():
    return compile_ptx(SOURCE)


@pytest.fixture(scope="module")
def kernels(text):
    return parse(text)


@pytest.fixture
def rng():
    return np.random.default_rng(1)


def test_conversions(kernels):
    special = [0.0, -0.0, 1.0, np.inf, -np.inf, np.nan, 65519.0, 65520.0, 6e-8, 2.9e-8, -126.5]
    ties = (ONE + np.array([0x1000, 0x3000, 0x8000, 0x18000, 0x0FFF], np.uint32)).view(np.float32)
    x = np.concatenate([special, ties, np.random.default_rng(0).standard_normal(48) * 40])
    x = x.astype(np.float32)
    memory, n = Memory(), x.size
    names = ("f4", "f4", "u4", "u4", "u4", "u4", "f4", "f4")
    places = [memory.output(n, np.dtype(name)) for name in names]
    run(kernels["convert"], memory, [1], [n], [memory.input(x), *places])
    exp2, log2, tf32, bf16, packed, f16, from_b, from_f = (
        memory.get(place, n, np.dtype(name)) for place, name in zip(places, names, strict=True)
    )
    with np.errstate(all="ignore"):
        power = np.exp2(x)
        np.testing.assert_allclose(exp2, np.where(power < 2.0**-126, 0, power), rtol=1e-6)
        np.testing.assert_allclose(log2, np.log2(x), rtol=1e-6, atol=1e-6)
        halves = x.astype(np.float16)
    finite = np.isfinite(x)
    rounded = tf32.view(np.float32)
    assert not (tf32[finite] & 0x1FFF).any()
    assert (np.abs(rounded - x)[finite] <= np.abs(x[finite]) * 2.0**-11).all()
    np.testing.assert_array_equal(tf32[11:14], ONE + np.array([0x2000, 0x4000, 0x8000]))
    np.testing.assert_array_equal(bf16, to_bf16(x))
    np.testing.assert_array_equal(bf16[13:16] << 16, ONE + np.array([0, 0x20000, 0]))
    np.testing.assert_array_equal(packed, bf16 | to_bf16(x + np.float32(1)) << np.uint32(16))
    number = ~np.isnan(x)
    np.testing.assert_array_equal(f16[number], halves.view(np.uint16)[number])
    np.testing.assert_array_equal(from_b, from_bf16(bf16))
    np.testing.assert_array_equal(from_f, halves.astype(np.float32))


def test_product_in_tf32(kernels, rng):
    a = rng.integers(-8, 8, (16, 8)).astype(np.float32)
    b = rng.integers(-8, 8, (8, 8)).astype(np.float32)
    memory = Memory()
    c = memory.output(128, np.float32)
    run(kernels["multiply_tf32"], memory, [1], [32], [memory.input(a), memory.input(b), c])
    np.testing.assert_array_equal(memory.get(c, 128, np.float32).reshape(16, 8), a @ b + 1)


@pytest.mark.parametrize("name", ["multiply_bf16_transposed", "multiply_bf16_straight"])
def test_product_in_bfloat16_by_way_of_shared_memory(kernels, rng, name):
    a = rng.integers(-8, 8, (16, 16)).astype(np.float32)
    b = rng.integers(-8, 8, (16, 8)).astype(np.float32)
    given = b.T if name.endswith("transposed") else b
    memory = Memory()
    inputs = [memory.input(to_bf16(x).astype(np.uint16)) for x in (a, given)]
    c = memory.output(128, np.float32)
    run(kernels[name], memory, [1], [32], [*inputs, c])
    np.testing.assert_array_equal(memory.get(c, 128, np.float32).reshape(16, 8), a @ b)


def test_transposed_loads(kernels):
    x = np.arange(256, dtype=np.uint16).reshape(4, 8, 8)
    memory = Memory()
    y = memory.output(128, np.uint32)
    run(kernels["load_transposed"], memory, [1], [32], [memory.input(x), y])
    words = memory.get(y, 128, np.uint32).reshape(32, 4)
    lane = np.arange(32)
    for tile in range(4):
        low = x[tile].T[lane >> 2, 2 * (lane & 3)]
        high = x[tile].T[lane >> 2, 2 * (lane & 3) + 1]
        np.testing.assert_array_equal(words[:, tile], low | high.astype(np.uint32) << 16)


@pytest.mark.parametrize("given", [64, 40, 20])
def test_copies_in_the_background(kernels, given):
    x = np.arange(1, given + 1, dtype=np.float32)
    memory = Memory()
    y = memory.output(64, np.float32)
    run(kernels["copy_words"], memory, [1], [32], [memory.input(x), y, given])
    wanted = np.zeros(64, np.float32)
    wanted[:given] = x
    expected = np.concatenate([wanted[31::-1], wanted[:31:-1]])
    np.testing.assert_array_equal(memory.get(y, 64, np.float32), expected)


def test_a_forgotten_wait_is_seen(tmp_path):
    source = tmp_path / "broken.cu"
    source.write_text("#define RLMREC_FAST_TEST_FORGETS_TO_WAIT\n" + SOURCE.read_text())
    kernel = parse(compile_ptx(source))["copy_words"]
    memory = Memory()
    x, y = memory.input(np.ones(64, np.float32)), memory.output(64, np.float32)
    with pytest.raises(PtxError, match="uninitialised shared read"):
        run(kernel, memory, [1], [32], [x, y, 64])


def test_strays_are_seen(kernels):
    memory = Memory()
    x, y = memory.input(np.ones(63, np.float32)), memory.output(64, np.float32)
    with pytest.raises(PtxError, match="out of bounds"):
        run(kernels["copy_words"], memory, [1], [32], [x, y, 64])
    with pytest.raises(PtxError, match="read-only"):
        run(kernels["copy_words"], memory, [1], [32], [x, x, 20])


def test_every_instruction_of_the_header_is_here(text):
    header = (SOURCE.parents[2] / "csrc" / "cuda" / "ptx.h").read_text()
    asked = {line.split('"')[1].split()[0].rstrip(";") for line in _asm_lines(header)}
    missing = {opcode for opcode in asked if opcode not in text}
    assert len(asked) >= 14
    assert not missing


def _asm_lines(header: str) -> list[str]:
    lines = header.splitlines()
    texts = []
    for number, line in enumerate(lines):
        if "asm" in line.replace("asm volatile", "asm") and "asm" in line.split("//")[0]:
            texts.append(line if '"' in line else lines[number + 1])
    return texts
