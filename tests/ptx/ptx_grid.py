"""Runs a PTX kernel: every register is an array with one entry per thread of the grid.

The threads at the lowest instruction go first, so diverged branches meet again. Anything unknown,
any stray access, and barriers that cannot be passed raise `PtxError`. Time, races and the memory
model are not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from ptx_arithmetic import ARITHMETIC
from ptx_memory import Memory, SharedMemory
from ptx_program import TYPES, Instruction, Kernel, Operand, PtxError
from ptx_warp import COLLECTIVES

Argument = int | float | np.generic | bytes


def run(
    kernel: Kernel,
    memory: Memory,
    grid: Sequence[int],
    block: Sequence[int],
    arguments: Sequence[Argument],
    dynamic_shared: int = 0,
) -> Grid:
    """Launches a kernel and runs it to its end.

    Args:
        kernel: of `ptx_program.parse`.
        memory: what pointers point to.
        grid, block: up to three sizes each.
        arguments: one per parameter; bytes for structs.
        dynamic_shared: bytes.
    """
    launched = Grid(kernel, memory, grid, block, arguments, dynamic_shared)
    launched.run()
    return launched


class Grid:
    """A launch under way; see `run`."""

    def __init__(
        self,
        kernel: Kernel,
        memory: Memory,
        grid: Sequence[int],
        block: Sequence[int],
        arguments: Sequence[Argument],
        dynamic_shared: int,
    ) -> None:
        np.seterr(all="ignore")
        self.kernel, self.memory = kernel, memory
        sizes = [tuple(shape) + (1,) * (3 - len(shape)) for shape in (grid, block)]
        self.blocks, self.block_threads = (int(np.prod(shape)) for shape in sizes)
        self.count = self.blocks * self.block_threads
        thread = np.arange(self.count)
        self.block = thread // self.block_threads
        in_block = thread % self.block_threads
        self.lane = in_block % 32
        self.warp = self.block * -(-self.block_threads // 32) + in_block // 32
        self.registers = {
            name: np.zeros(self.count, dtype) for name, dtype in kernel.registers.items()
        }
        for name, place, shape in (("ctaid", self.block, sizes[0]), ("tid", in_block, sizes[1])):
            strides = (1, shape[0], shape[0] * shape[1])
            for axis, size, stride in zip("xyz", shape, strides, strict=True):
                where = place // stride % size
                self.registers[f"%{name}.{axis}"] = where.astype(np.uint32)
                self.registers[f"%n{name}.{axis}"] = np.full(self.count, size, np.uint32)
        self.registers["%laneid"] = self.lane.astype(np.uint32)
        self.parameters = _pack(kernel, arguments)
        self.dynamic_begin = -(-kernel.shared_bytes // 16) * 16
        self.shared = SharedMemory(self.blocks, self.dynamic_begin + dynamic_shared)
        self.pc = np.zeros(self.count, np.int64)
        self.at_barrier = np.zeros(self.count, bool)
        self.parked = np.zeros(self.count, bool)  # before a warp operation, for absent lanes
        self.copies: list[tuple[int, int, int, int, int, int]] = []
        self.copy_group = np.zeros(self.count, np.int64)
        self.executed: set[str] = set()

    # --- operands

    def read(self, operand: Operand, kind: str, threads: np.ndarray) -> np.ndarray:
        """The value of a register, number or symbol for some threads, as a type."""
        dtype = TYPES[kind]
        assert isinstance(operand, str)
        if operand.startswith("!"):
            return ~self.read(operand[1:], "pred", threads)
        if operand in self.registers:
            value = self.registers[operand][threads]
            if value.dtype == np.bool_ or value.dtype.itemsize == dtype.itemsize:
                return value if value.dtype == np.bool_ else value.view(dtype)
            return value.astype(f"u{dtype.itemsize}").view(dtype)
        return np.broadcast_to(self._constant(operand, dtype), threads.shape)

    def _constant(self, operand: str, dtype: np.dtype) -> np.ndarray:
        if operand.startswith("0f"):
            return np.uint32(int(operand[2:], 16)).reshape(1).view(np.float32).astype(dtype)
        if operand.startswith("0d"):
            return np.uint64(int(operand[2:], 16)).reshape(1).view(np.float64).astype(dtype)
        if operand in self.kernel.shared:
            place = self.kernel.shared[operand]
            number = self.dynamic_begin if place is None else place
        elif operand in self.kernel.parameters:
            number = self.kernel.parameters[operand][0]
        elif re.fullmatch(r"-?(0x)?[0-9a-fA-F]+U?", operand):
            number = int(operand.rstrip("U"), 0)
        else:
            raise PtxError(f"unknown operand {operand}")
        bits = 8 * dtype.itemsize
        return np.array([number & (2**bits - 1)], f"u{dtype.itemsize}").view(dtype)

    def write(self, operand: Operand, value: np.ndarray, threads: np.ndarray) -> None:
        """Sets a register; narrower values are extended as their type says, wider ones cut."""
        if operand == "_":
            return
        assert isinstance(operand, str)
        register = self.registers[operand]
        value = np.ascontiguousarray(value)
        if register.dtype != np.bool_ and value.dtype.kind == "f":
            value = value.view(f"u{value.dtype.itemsize}")
        if value.dtype.itemsize == register.dtype.itemsize:
            register[threads] = value.view(register.dtype)
        else:
            register[threads] = value.astype(register.dtype)

    def address(self, operand: Operand, threads: np.ndarray) -> np.ndarray:
        """What stands in brackets: a register or symbol and perhaps an offset."""
        assert isinstance(operand, str)
        match = re.fullmatch(r"\[\s*([%\w$]+)\s*(?:\+\s*(-?\d+))?\s*\]", operand)
        if match is None:
            raise PtxError(f"unknown address {operand}")
        return self.read(match[1], "s64", threads) + int(match[2] or 0)

    def load(self, space: str, address: np.ndarray, size: int, threads: np.ndarray, what: str):
        """Bytes [thread, size]."""
        if space == "global":
            return self.memory.load(address, size, what)
        if space == "shared":
            return self.shared.load(self.block[threads], address, size, what)
        return self.parameters[address[:, None] + np.arange(size)]

    def store(self, space: str, address: np.ndarray, data: np.ndarray, threads, what: str) -> None:
        """Writes bytes [thread, size]."""
        if space == "global":
            self.memory.store(address, data, what)
        else:
            self.shared.store(self.block[threads], address, data, what)

    # --- control

    def run(self, most_steps: int = 10**7) -> None:
        """Runs every thread to its end."""
        end = len(self.kernel.code)
        for _ in range(most_steps):
            runnable = (self.pc < end) & ~self.at_barrier & ~self.parked
            if runnable.any():
                pc = int(self.pc[runnable].min())
                self._step(pc, np.nonzero(runnable & (self.pc == pc))[0])
            elif (self.pc >= end).all():
                return
            else:
                self._pass_barriers(end)
        raise PtxError(f"{self.kernel.name}: no end after {most_steps} instructions")

    def _pass_barriers(self, end: int) -> None:
        waiting = self.at_barrier.reshape(self.blocks, -1)
        gone = (self.pc >= end).reshape(self.blocks, -1)
        passing = ((waiting | gone).all(1) & waiting.any(1))[self.block] & self.at_barrier
        if not passing.any():
            stuck = sorted(set(self.pc[self.at_barrier | self.parked].tolist()))
            code = ", ".join(f"{pc} {self.kernel.code[pc].opcode}" for pc in stuck)
            raise PtxError(f"{self.kernel.name}: deadlock at {code}")
        self.at_barrier[passing] = False
        self.pc[passing] += 1

    def _step(self, pc: int, threads: np.ndarray) -> None:
        instruction = self.kernel.code[pc]
        base = instruction.words[0]
        taken = threads
        if instruction.guard:
            taken = threads[self.read(instruction.guard, "pred", threads)]
        if base == "bra":
            self.pc[threads] = pc + 1
            self.pc[taken] = self.kernel.labels[str(instruction.operands[0])]
        elif base in ("ret", "exit"):
            self.pc[threads] = pc + 1
            self.pc[taken] = len(self.kernel.code)
            self.parked[:] = False
        elif base in ("bar", "barrier") and "warp" not in instruction.words:
            self.at_barrier[taken] = True
            self.pc[np.setdiff1d(threads, taken)] = pc + 1
        else:
            threads = self._execute(instruction, threads, taken, f"{pc} {instruction.opcode}")
            self.pc[threads] = pc + 1
            if threads.size:
                self.parked[:] = False

    def _execute(
        self, instruction: Instruction, threads: np.ndarray, taken: np.ndarray, place: str
    ) -> np.ndarray:
        """Runs an instruction that does not branch; returns the threads that are through."""
        base = instruction.words[0]
        what = f"{self.kernel.name}: {place}"
        self.executed.add(instruction.opcode)
        if base in ARITHMETIC:
            if taken.size:
                ARITHMETIC[base](self, instruction, taken)
            return threads
        if base not in COLLECTIVES:
            raise PtxError(f"{what}: unknown opcode")
        collective = COLLECTIVES[base]
        if collective.mask is not None and taken.size:
            ready = self._complete(taken, collective.mask(self, instruction, taken))
            absent = taken[~ready]
            self.parked[absent] = True
            threads, taken = np.setdiff1d(threads, absent), taken[ready]
        if taken.size:
            collective.execute(self, instruction, taken, what)
        return threads

    def _complete(self, threads: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Which threads have all lanes of their mask here, but for those that have ended."""
        bits = np.uint32(1) << self.lane.astype(np.uint32)
        warps = int(self.warp[-1]) + 1
        here, alive = np.zeros(warps, np.uint32), np.zeros(warps, np.uint32)
        np.bitwise_or.at(here, self.warp[threads], bits[threads])
        running = np.nonzero(self.pc < len(self.kernel.code))[0]
        np.bitwise_or.at(alive, self.warp[running], bits[running])
        warp = self.warp[threads]
        return (mask & alive[warp] & ~here[warp]) == 0


def _pack(kernel: Kernel, arguments: Sequence[Argument]) -> np.ndarray:
    if len(arguments) != len(kernel.parameters):
        raise PtxError(f"{kernel.name}: {len(kernel.parameters)} arguments, not {len(arguments)}")
    packed = np.zeros(kernel.parameter_bytes, np.uint8)
    described = zip(kernel.parameters.values(), arguments, strict=True)
    for (place, size, kind), argument in described:
        if isinstance(argument, bytes):
            data = np.frombuffer(argument, np.uint8)
        elif kind.startswith("f"):
            data = np.array([argument], TYPES[kind]).view(np.uint8)
        else:
            data = np.array([int(argument) % 2 ** (8 * size)], f"u{size}").view(np.uint8)
        if data.size != size:
            raise PtxError(f"{kernel.name}: parameter of {size} bytes, not {data.size}")
        packed[place : place + size] = data
    return packed
