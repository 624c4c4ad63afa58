"""Instructions that touch memory or that several lanes of a warp run together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ptx_program import TYPES, Instruction, PtxError

if TYPE_CHECKING:
    from ptx_grid import Grid

Mask = Callable[["Grid", Instruction, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Collective:
    """How to run an instruction.

    Attributes:
        execute: runs it for threads whose partners are there.
        mask: which lanes must be there, for each thread; None where threads run alone.
    """

    execute: Callable[[Grid, Instruction, np.ndarray, str], None]
    mask: Mask | None = None


def _last_operand(grid: Grid, instruction: Instruction, threads: np.ndarray) -> np.ndarray:
    return grid.read(instruction.operands[-1], "u32", threads)


def _whole_warp(grid: Grid, instruction: Instruction, threads: np.ndarray) -> np.ndarray:
    return np.full(threads.size, 0xFFFFFFFF, np.uint32)


def _warps(grid: Grid, threads: np.ndarray) -> list[np.ndarray]:
    """The threads, warp by warp."""
    return [threads[grid.warp[threads] == warp] for warp in np.unique(grid.warp[threads])]


# --- memory


def _shape(instruction: Instruction) -> tuple[str, int, int]:
    """Type, its size and the number of elements of a load or store."""
    kind = instruction.words[-1]
    vector = [word for word in instruction.words if word in ("v2", "v4", "v8")]
    return kind, TYPES[kind].itemsize, int(vector[0][1]) if vector else 1


def _space(instruction: Instruction) -> str:
    for word in instruction.words:
        space = word.split("_")[0]
        if space in ("global", "shared", "param"):
            return space
    raise PtxError(f"{instruction.opcode}: generic addresses are not interpreted")


def _load(grid: Grid, instruction: Instruction, threads: np.ndarray, what: str) -> None:
    target, source = instruction.operands
    kind, size, count = _shape(instruction)
    address = grid.address(source, threads)
    data = grid.load(_space(instruction), address, size * count, threads, what)
    values = np.ascontiguousarray(data).view(TYPES[kind])
    for i, register in enumerate(target if isinstance(target, list) else [target]):
        grid.write(register, values[:, i], threads)


def _store(grid: Grid, instruction: Instruction, threads: np.ndarray, what: str) -> None:
    target, source = instruction.operands
    kind = _shape(instruction)[0]
    sources = source if isinstance(source, list) else [source]
    values = np.stack([grid.read(o, kind, threads) for o in sources], 1)
    data = np.ascontiguousarray(values).view(np.uint8)
    grid.store(_space(instruction), grid.address(target, threads), data, threads, what)


_UPDATES: dict[str, Callable[..., np.ndarray]] = {
    "add": np.add,
    "min": np.minimum,
    "max": np.maximum,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "exch": lambda old, new: new,
}


def _atomic(grid: Grid, instruction: Instruction, threads: np.ndarray, what: str) -> None:
    words, kind = instruction.words, instruction.words[-1]
    target, place, *sources = (
        instruction.operands if words[0] == "atom" else ("_", *instruction.operands)
    )
    address = grid.address(place, threads)
    values = [grid.read(o, kind, threads) for o in sources]
    for i in range(threads.size):
        one = threads[i : i + 1]
        data = grid.load(_space(instruction), address[i : i + 1], values[0].itemsize, one, what)
        old = np.ascontiguousarray(data).view(TYPES[kind])[0]
        given = [value[i : i + 1] for value in values]
        if "cas" in words:
            new = np.where(old == given[0], given[1], old)
        else:
            (update,) = (function for word, function in _UPDATES.items() if word in words)
            new = update(old, given[0])
        stored = np.ascontiguousarray(new.astype(TYPES[kind])).view(np.uint8)[:, None].T
        grid.store(_space(instruction), address[i : i + 1], stored, one, what)
        grid.write(target, old, one)


def _copy(grid: Grid, instruction: Instruction, threads: np.ndarray, what: str) -> None:
    """cp.async: copies land when they are waited for, as late as is allowed."""
    words, operands = instruction.words, instruction.operands
    if "commit_group" in words:
        grid.copy_group[threads] += 1
    elif "wait_group" in words or "wait_all" in words:
        pending = int(str(operands[0])) if operands else 0
        _land(grid, set(threads.tolist()), pending, what)
    else:
        target, source = grid.address(operands[0], threads), grid.address(operands[1], threads)
        size = int(str(operands[2]))
        taken = (
            grid.read(operands[3], "u32", threads) if len(operands) > 3 else [size] * len(threads)
        )
        group = grid.copy_group[threads]
        columns = (threads, group, target, source, taken)
        grid.copies += [(*map(int, row), size) for row in zip(*columns, strict=True)]


def _land(grid: Grid, waiting: set[int], pending: int, what: str) -> None:
    left = []
    for thread, group, target, source, taken, size in grid.copies:
        if thread not in waiting or group + pending >= grid.copy_group[thread]:
            left.append((thread, group, target, source, taken, size))
            continue
        data = np.zeros((1, size), np.uint8)
        if taken:
            part = [grid.memory.load(np.array([source + i]), 1, what) for i in range(taken)]
            data[:, :taken] = np.concatenate(part, 1)
        grid.store("shared", np.array([target]), data, np.array([thread]), what)
    grid.copies = left


# --- warps


def _shuffle(grid: Grid, instruction: Instruction, threads: np.ndarray, what: str) -> None:
    target, source, argument, clamp, _ = instruction.operands
    value = grid.read(source, "u32", threads)
    by = grid.read(argument, "u32", threads).astype(np.int64)
    limits = grid.read(clamp, "u32", threads).astype(np.int64)
    lane = grid.lane[threads]
    segment, bound = limits >> 8 & 31, limits & 31
    last = lane & segment | bound & ~segment
    mode = instruction.words[2]
    if mode == "idx":
        other = lane & segment | by & ~segment
    else:
        other = {"bfly": lane ^ by, "up": lane - by, "down": lane + by}[mode]
    inside = other >= last if mode == "up" else other <= last
    other = np.where(inside, other, lane)
    place = np.full((int(grid.warp[-1]) + 1, 32), -1)
    place[grid.warp[threads], lane] = np.arange(threads.size)
    found = place[grid.warp[threads], other]
    if (found < 0).any():
        raise PtxError(f"{what}: shuffle from a lane that is not there")
    register, _, predicate = str(target).partition("|")
    grid.write(register, value[found], threads)
    if predicate:
        grid.write(predicate, inside, threads)


def _vote(grid: Grid, instruction: Instruction, threads: np.ndarray, what: str) -> None:
    mode, target = instruction.words[2], instruction.operands[0]
    for warp in _warps(grid, threads):
        holds = grid.read(instruction.operands[1], "pred", warp)
        if mode == "ballot":
            bits = np.uint32(1) << grid.lane[warp].astype(np.uint32)
            result = np.bitwise_or.reduce(np.where(holds, bits, np.uint32(0)))
        else:
            result = {"any": holds.any(), "all": holds.all()}[mode]
        grid.write(target, np.full(warp.size, result), warp)


def _reduce(grid: Grid, instruction: Instruction, threads: np.ndarray, what: str) -> None:
    """redux: each thread over the lanes of its own mask."""
    kind, mode = instruction.words[-1], instruction.words[2]
    mask = grid.read(instruction.operands[-1], "u32", threads)
    for warp in _warps(grid, threads):
        for lanes in np.unique(mask[np.isin(threads, warp)]):
            group = warp[(lanes >> grid.lane[warp].astype(np.uint32) & 1).astype(bool)]
            values = grid.read(instruction.operands[1], kind, group)
            result = values[0]
            for value in values[1:]:
                result = _UPDATES[mode](result, value)
            grid.write(instruction.operands[0], np.full(group.size, result), group)


def _match(grid: Grid, instruction: Instruction, threads: np.ndarray, what: str) -> None:
    if instruction.words[1] != "any":
        raise PtxError(f"{what}: unknown opcode")
    kind = instruction.words[-1]
    for warp in _warps(grid, threads):
        value = grid.read(instruction.operands[1], kind, warp)
        bits = np.uint32(1) << grid.lane[warp].astype(np.uint32)
        same = np.where(value[:, None] == value, bits, np.uint32(0))
        grid.write(instruction.operands[0], np.bitwise_or.reduce(same, 1), warp)


def _load_matrices(grid: Grid, instruction: Instruction, threads: np.ndarray, what: str) -> None:
    targets = instruction.operands[0]
    targets = targets if isinstance(targets, list) else [targets]
    for warp in _warps(grid, threads):
        address = grid.address(instruction.operands[1], warp)
        lane = grid.lane[warp]
        for tile, target in enumerate(targets):
            rows = slice(8 * tile, 8 * tile + 8)
            data = grid.load("shared", address[rows], 16, warp[rows], what)
            elements = np.ascontiguousarray(data).view(np.uint16).astype(np.uint32)
            if "trans" in instruction.words:
                elements = elements.T
            row, column = lane >> 2, 2 * (lane & 3)
            pair = elements[row, column] | elements[row, column + 1] << np.uint32(16)
            grid.write(target, pair, warp)


def from_bf16(bits: np.ndarray) -> np.ndarray:
    """float32 of the low 16 bits of words."""
    return np.ascontiguousarray((bits & np.uint32(0xFFFF)) << np.uint32(16)).view(np.float32)


def _multiply_matrices(
    grid: Grid, instruction: Instruction, threads: np.ndarray, what: str
) -> None:
    """Fragments as csrc/cuda/ptx.h describes them."""
    shape, halves = instruction.words[3], "bf16" in instruction.words
    if (shape, halves) not in (("m16n8k8", False), ("m16n8k16", True)):
        raise PtxError(f"{what}: unknown opcode")
    lane = np.arange(32)
    g, t = lane >> 2, lane & 3
    d, a, b, c = (list(operand) for operand in instruction.operands)
    for warp in _warps(grid, threads):
        depth = 16 if halves else 8
        first = np.zeros((16, depth), np.float32)
        second = np.zeros((depth, 8), np.float32)
        total = np.zeros((16, 8), np.float32)
        for i in range(4):
            bits = grid.read(a[i], "u32", warp)
            row = g + 8 * (i & 1)
            if halves:
                first[row, 2 * t + 8 * (i >> 1)] = from_bf16(bits)
                first[row, 2 * t + 8 * (i >> 1) + 1] = from_bf16(bits >> np.uint32(16))
            else:
                first[row, t + 4 * (i >> 1)] = (bits & np.uint32(0xFFFFE000)).view(np.float32)
            total[g + 8 * (i >> 1), 2 * t + (i & 1)] = grid.read(c[i], "f32", warp)
        for i in range(2):
            bits = grid.read(b[i], "u32", warp)
            if halves:
                second[2 * t + 8 * i, g] = from_bf16(bits)
                second[2 * t + 8 * i + 1, g] = from_bf16(bits >> np.uint32(16))
            else:
                second[t + 4 * i, g] = (bits & np.uint32(0xFFFFE000)).view(np.float32)
        total = total + first @ second
        for i in range(4):
            grid.write(d[i], total[g + 8 * (i >> 1), 2 * t + (i & 1)], warp)


def _meet(grid: Grid, instruction: Instruction, threads: np.ndarray, what: str) -> None:
    """bar.warp.sync: meeting is all."""


COLLECTIVES: dict[str, Collective] = {
    "atom": Collective(_atomic),
    "bar": Collective(_meet, _last_operand),
    "cp": Collective(_copy),
    "ld": Collective(_load),
    "ldmatrix": Collective(_load_matrices, _whole_warp),
    "match": Collective(_match, _last_operand),
    "mma": Collective(_multiply_matrices, _whole_warp),
    "red": Collective(_atomic),
    "redux": Collective(_reduce, _last_operand),
    "shfl": Collective(_shuffle, _last_operand),
    "st": Collective(_store),
    "vote": Collective(_vote, _last_operand),
}
