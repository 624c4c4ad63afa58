"""Instructions of single threads that only touch registers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from ptx_program import TYPES, Instruction, PtxError

if TYPE_CHECKING:
    from ptx_grid import Grid

Execute = Callable[["Grid", Instruction, np.ndarray], None]


def _elementwise(compute: Callable[..., np.ndarray]) -> Execute:
    """From the operands, read as the opcode's last type, to the first one."""

    def execute(grid: Grid, instruction: Instruction, threads: np.ndarray) -> None:
        kind = instruction.words[-1]
        target, *sources = instruction.operands
        values = [grid.read(source, kind, threads) for source in sources]
        result = np.asarray(compute(*values))
        grid.write(target, _flush(instruction, result.astype(TYPES[kind])), threads)

    return execute


def _flush(instruction: Instruction, value: np.ndarray) -> np.ndarray:
    """Subnormal results are zero where the opcode says so."""
    if "ftz" not in instruction.words or value.dtype != np.float32:
        return value
    return np.where(np.abs(value) < np.float32(2.0**-126), np.copysign(np.float32(0), value), value)


def _choose(floats: Callable, integers: Callable) -> Callable[..., np.ndarray]:
    return lambda a, *rest: (floats if a.dtype.kind == "f" else integers)(a, *rest)


def _fma(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Rounded once for float32, nearly always; for float64 twice."""
    wide = (x.astype(np.float64) for x in (a, b, c))
    x, y, z = wide
    return (x * y + z).astype(a.dtype)


def _truncated_divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    quotient = np.abs(a) // np.abs(b)
    return np.where((a < 0) != (b < 0), -quotient, quotient) if a.dtype.kind == "i" else a // b


def _high(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    bits = 8 * a.dtype.itemsize
    return ((a.astype(object) * b.astype(object)) >> bits).astype(a.dtype)


def _multiply(grid: Grid, instruction: Instruction, threads: np.ndarray) -> None:
    """mul and mad: the low or high half, or all of a product of integers."""
    words, kind = instruction.words, instruction.words[-1]
    target, *sources = instruction.operands
    a, b = (grid.read(source, kind, threads) for source in sources[:2])
    if "wide" in words:
        kind = kind[0] + str(2 * int(kind[1:]))
        result = a.astype(TYPES[kind]) * b.astype(TYPES[kind])
    else:
        result = _high(a, b) if "hi" in words else a * b
    if len(sources) == 3:
        result = result + grid.read(sources[2], kind, threads)
    grid.write(target, _flush(instruction, result), threads)


def _shift(grid: Grid, instruction: Instruction, threads: np.ndarray) -> None:
    kind = instruction.words[-1]
    dtype, bits = TYPES[kind], 8 * TYPES[kind].itemsize
    value = grid.read(instruction.operands[1], kind, threads)
    amount = grid.read(instruction.operands[2], "u32", threads)
    least = np.minimum(amount, bits - 1).astype(dtype)
    if instruction.words[0] == "shl":
        result = np.where(amount >= bits, 0, value << least)
    else:
        beyond = np.where(value < 0, -1, 0) if dtype.kind == "i" else 0
        result = np.where(amount >= bits, beyond, value >> least)
    grid.write(instruction.operands[0], result.astype(dtype), threads)


def _funnel_shift(grid: Grid, instruction: Instruction, threads: np.ndarray) -> None:
    low, high, amount = (
        grid.read(o, "u32", threads).astype(np.uint64) for o in instruction.operands[1:]
    )
    most = np.uint64(32)
    amount = amount % most if "wrap" in instruction.words else np.minimum(amount, most)
    both = high << most | low
    left = instruction.words[1] == "l"
    result = (both << amount) >> most if left else both >> amount
    grid.write(instruction.operands[0], (result & np.uint64(2**32 - 1)).astype(np.uint32), threads)


def _bitfield_insert(grid: Grid, instruction: Instruction, threads: np.ndarray) -> None:
    target, *sources = instruction.operands
    value, into = (grid.read(o, "u32", threads).astype(np.uint64) for o in sources[:2])
    begin, length = (grid.read(o, "u32", threads).astype(np.uint64) & 255 for o in sources[2:])
    ones = ((np.uint64(1) << np.minimum(length, 32)) - np.uint64(1)) << np.minimum(begin, 32)
    mask = ones & np.uint64(2**32 - 1)
    result = (value << np.minimum(begin, 32)) & mask | into & ~mask
    grid.write(target, (result & np.uint64(2**32 - 1)).astype(np.uint32), threads)


def _bitfield_extract(grid: Grid, instruction: Instruction, threads: np.ndarray) -> None:
    kind = instruction.words[-1]
    target, *sources = instruction.operands
    value = grid.read(sources[0], "u32", threads).astype(np.uint64)
    begin, length = (grid.read(o, "u32", threads).astype(np.uint64) & 255 for o in sources[1:])
    length = np.minimum(length, 32)
    result = (value >> np.minimum(begin, 63)) & ((np.uint64(1) << length) - np.uint64(1))
    if kind == "s32":
        top = np.where(length > 0, (result >> np.maximum(length, 1) - np.uint64(1)) & 1, 0)
        result = np.where(top > 0, result | ~np.uint64(0) << length, result)
    grid.write(target, (result & np.uint64(2**32 - 1)).astype(np.uint32), threads)


def _permute(grid: Grid, instruction: Instruction, threads: np.ndarray) -> None:
    if len(instruction.words) > 2:
        raise PtxError(f"{instruction.opcode} is not interpreted")
    low, high, choice = (grid.read(o, "u32", threads) for o in instruction.operands[1:])
    both = np.stack([low, high], 1).view(np.uint8)
    result = np.empty((len(threads), 4), np.uint8)
    for i in range(4):
        nibble = (choice >> np.uint32(4 * i)) & np.uint32(15)
        byte = np.take_along_axis(both, (nibble & 7).astype(np.int64)[:, None], 1)[:, 0]
        sign = np.where(byte >= 128, 255, 0).astype(np.uint8)
        result[:, i] = np.where(nibble >= 8, sign, byte)
    grid.write(instruction.operands[0], result.view(np.uint32)[:, 0], threads)


def _lop3(grid: Grid, instruction: Instruction, threads: np.ndarray) -> None:
    target, *sources, table = instruction.operands
    a, b, c = (grid.read(o, "u32", threads) for o in sources)
    result = np.zeros_like(a)
    for i in range(8):
        if int(str(table), 0) >> i & 1:
            result |= (a if i & 4 else ~a) & (b if i & 2 else ~b) & (c if i & 1 else ~c)
    grid.write(target, result, threads)


def _move(grid: Grid, instruction: Instruction, threads: np.ndarray) -> None:
    target, source = instruction.operands
    kind = instruction.words[-1]
    if isinstance(target, list):
        pieces = grid.read(source, kind, threads)
        part = TYPES[kind].itemsize // len(target)
        pieces = np.ascontiguousarray(pieces).view(f"u{part}").reshape(-1, len(target))
        for i, register in enumerate(target):
            grid.write(register, pieces[:, i], threads)
    elif isinstance(source, list):
        part = f"b{8 * TYPES[kind].itemsize // len(source)}"
        pieces = np.stack([grid.read(o, part, threads) for o in source], 1)
        grid.write(target, np.ascontiguousarray(pieces).view(TYPES[kind])[:, 0], threads)
    else:
        grid.write(target, grid.read(source, kind, threads), threads)


def _convert(grid: Grid, instruction: Instruction, threads: np.ndarray) -> None:
    words, target = instruction.words, instruction.operands[0]
    if "tf32" in words:
        value = grid.read(instruction.operands[1], "u32", threads)
        special = (value & np.uint32(0x7F800000)) == np.uint32(0x7F800000)
        nearest = (value + np.uint32(0x1000)) & np.uint32(0xFFFFE000)
        return grid.write(target, np.where(special, value, nearest), threads)
    if "bf16x2" in words:
        high, low = (to_bf16(grid.read(o, "f32", threads)) for o in instruction.operands[1:3])
        return grid.write(target, high << np.uint32(16) | low, threads)
    to, kind = words[-2], words[-1]
    value = grid.read(instruction.operands[1], kind, threads)
    rounds = {"rzi": np.trunc, "rni": np.rint, "rmi": np.floor, "rpi": np.ceil}
    for word, function in rounds.items():
        if word in words and kind.startswith("f"):
            value = function(value)
    if kind.startswith("f") and not to.startswith("f"):
        value = _to_integer(value, TYPES[to])
    if "sat" in words:
        value = np.clip(value, 0, 1) if to.startswith("f") else value
    return grid.write(target, _flush(instruction, value.astype(TYPES[to])), threads)


def _to_integer(value: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Saturates; NaN is 0."""
    limits = np.iinfo(dtype)
    above, below = value >= float(limits.max), value <= float(limits.min)
    inside = np.where(above | below | np.isnan(value), 0, value).astype(dtype)
    return np.where(above, limits.max, np.where(below, limits.min, inside)).astype(dtype)


def to_bf16(x: np.ndarray) -> np.ndarray:
    """Bits of the nearest bfloat16, ties to even, in 32-bit words."""
    bits = np.ascontiguousarray(x).view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + (bits >> np.uint32(16) & np.uint32(1))) >> np.uint32(16)
    return np.where(np.isnan(x), np.uint32(0x7FFF), rounded)


_COMPARE = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "lo": np.less,
    "ls": np.less_equal,
    "hi": np.greater,
    "hs": np.greater_equal,
}


def _compare(grid: Grid, instruction: Instruction, threads: np.ndarray) -> None:
    words, kind = instruction.words, instruction.words[-1]
    target, first, second, *rest = instruction.operands
    a, b = grid.read(first, kind, threads), grid.read(second, kind, threads)
    unordered = np.isnan(a) | np.isnan(b) if kind.startswith("f") else np.zeros(a.shape, bool)
    comparison = words[1]
    if comparison in ("num", "nan"):
        result = unordered == (comparison == "nan")
    else:
        result = np.where(unordered, comparison.endswith("u"), _COMPARE[comparison[:2]](a, b))
    if rest:
        other = grid.read(rest[0], "pred", threads)
        combine = {"and": np.logical_and, "or": np.logical_or, "xor": np.logical_xor}
        result = combine[words[2]](result, other)
    if "|" in str(target):
        raise PtxError(f"{instruction.opcode} with two results is not interpreted")
    grid.write(target, result.astype(np.bool_), threads)


def _select(grid: Grid, instruction: Instruction, threads: np.ndarray) -> None:
    target, first, second, condition = instruction.operands
    kind = instruction.words[-1]
    chosen = grid.read(condition, "pred", threads)
    a, b = grid.read(first, kind, threads), grid.read(second, kind, threads)
    grid.write(target, np.where(chosen, a, b), threads)


def _count_leading_zeros(x: np.ndarray) -> np.ndarray:
    bits = 8 * x.dtype.itemsize
    return np.array([bits - int(value).bit_length() for value in x], np.uint32)


def _count(compute: Callable[[np.ndarray], np.ndarray]) -> Execute:
    def execute(grid: Grid, instruction: Instruction, threads: np.ndarray) -> None:
        kind = instruction.words[-1].replace("b", "u")
        grid.write(
            instruction.operands[0],
            compute(grid.read(instruction.operands[1], kind, threads)).astype(np.uint32),
            threads,
        )

    return execute


def _reverse_bits(x: np.ndarray) -> np.ndarray:
    bits = 8 * x.dtype.itemsize
    return np.array([int(f"{int(value):0{bits}b}"[::-1], 2) for value in x], x.dtype)


def _active_mask(grid: Grid, instruction: Instruction, threads: np.ndarray) -> None:
    mask = np.uint32(1) << grid.lane[threads].astype(np.uint32)  # always a legal answer
    grid.write(instruction.operands[0], mask, threads)


def _nothing(grid: Grid, instruction: Instruction, threads: np.ndarray) -> None:
    """Fences: everything is seen at once here."""


def _address(grid: Grid, instruction: Instruction, threads: np.ndarray) -> None:
    """cvta: addresses of all spaces are the same here, those of shared memory small numbers."""
    target, source = instruction.operands
    grid.write(target, grid.read(source, instruction.words[-1], threads), threads)


ARITHMETIC: dict[str, Execute] = {
    "abs": _elementwise(np.abs),
    "activemask": _active_mask,
    "add": _elementwise(np.add),
    "and": _elementwise(np.bitwise_and),
    "bfe": _bitfield_extract,
    "bfi": _bitfield_insert,
    "brev": _elementwise(_reverse_bits),
    "clz": _count(_count_leading_zeros),
    "copysign": _elementwise(lambda a, b: np.copysign(b, a)),
    "cvt": _convert,
    "cvta": _address,
    "div": _elementwise(_choose(np.divide, _truncated_divide)),
    "ex2": _elementwise(np.exp2),
    "fence": _nothing,
    "fma": _elementwise(_fma),
    "lg2": _elementwise(np.log2),
    "lop3": _lop3,
    "mad": _multiply,
    "max": _elementwise(_choose(np.fmax, np.maximum)),
    "membar": _nothing,
    "min": _elementwise(_choose(np.fmin, np.minimum)),
    "mov": _move,
    "mul": _multiply,
    "neg": _elementwise(np.negative),
    "not": _elementwise(np.invert),
    "or": _elementwise(np.bitwise_or),
    "popc": _count(lambda x: np.array([int(value).bit_count() for value in x])),
    "prmt": _permute,
    "rcp": _elementwise(np.reciprocal),
    "rem": _elementwise(lambda a, b: a - _truncated_divide(a, b) * b),
    "rsqrt": _elementwise(lambda x: 1 / np.sqrt(x)),
    "selp": _select,
    "setp": _compare,
    "shf": _funnel_shift,
    "shl": _shift,
    "shr": _shift,
    "sqrt": _elementwise(np.sqrt),
    "sub": _elementwise(np.subtract),
    "xor": _elementwise(np.bitwise_xor),
}
