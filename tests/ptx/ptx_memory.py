"""Device memory of the interpreter: buffers with unmapped gaps between them."""

from __future__ import annotations

import numpy as np
from ptx_program import PtxError

_READABLE, _WRITABLE, _WRITTEN = 1, 2, 4
_GAP = 4096


class Memory:
    """Global memory.

    Args:
        size: bytes for all buffers.
    """

    def __init__(self, size: int = 1 << 24) -> None:
        self.base = 1 << 40
        self._bytes = np.full(size, 0xFF, np.uint8)
        self._flags = np.zeros(size, np.uint8)
        self._end = _GAP

    def input(self, array: np.ndarray) -> int:
        """The address of a copy that kernels may read."""
        return self._place(array, _READABLE | _WRITTEN)

    def inout(self, array: np.ndarray) -> int:
        """The address of a copy that kernels may read and write."""
        return self._place(array, _READABLE | _WRITABLE | _WRITTEN)

    def output(self, count: int, dtype: type) -> int:
        """The address of elements that kernels may write, and then read."""
        return self._place(np.full(count, 0, dtype), _READABLE | _WRITABLE)

    def get(self, address: int, count: int, dtype: type) -> np.ndarray:
        """A copy of the elements at an address."""
        begin = address - self.base
        return self._bytes[begin : begin + count * np.dtype(dtype).itemsize].view(dtype).copy()

    def _place(self, array: np.ndarray, flags: int) -> int:
        data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        begin = -(-self._end // 256) * 256
        self._end = begin + data.size + _GAP
        if self._end > self._bytes.size:
            raise PtxError("out of memory")
        self._flags[begin : begin + data.size] = flags
        if flags & _WRITTEN:
            self._bytes[begin : begin + data.size] = data
        return self.base + begin

    def load(self, address: np.ndarray, size: int, what: str) -> np.ndarray:
        """Bytes [thread, size]."""
        places = self._places(address, size, _READABLE, what)
        if not (self._flags[places] & _WRITTEN).all():
            raise PtxError(f"{what}: uninitialised read")
        return self._bytes[places]

    def store(self, address: np.ndarray, data: np.ndarray, what: str) -> None:
        """Writes bytes [thread, size]."""
        places = self._places(address, data.shape[1], _WRITABLE, what)
        self._bytes[places] = data
        self._flags[places] |= _WRITTEN

    def _places(self, address: np.ndarray, size: int, needed: int, what: str) -> np.ndarray:
        if (address % size).any():
            raise PtxError(f"{what}: misaligned access of {size} bytes")
        places = (address - self.base)[:, None] + np.arange(size)
        if (places < 0).any() or (places >= self._bytes.size).any():
            raise PtxError(f"{what}: out of bounds")
        if not (self._flags[places] & needed).all():
            kind = "out of bounds" if needed == _READABLE else "out of bounds or read-only"
            raise PtxError(f"{what}: {kind}")
        return places


class SharedMemory:
    """Shared memory of all blocks, static and then dynamic, uninitialised."""

    def __init__(self, blocks: int, size: int) -> None:
        self._bytes = np.full((blocks, max(size, 1)), 0xFF, np.uint8)
        self._written = np.zeros_like(self._bytes, dtype=bool)

    def load(self, block: np.ndarray, address: np.ndarray, size: int, what: str) -> np.ndarray:
        """Bytes [thread, size] of the threads' blocks."""
        places = self._places(block, address, size, what)
        if not self._written[places].all():
            raise PtxError(f"{what}: uninitialised shared read")
        return self._bytes[places]

    def store(self, block: np.ndarray, address: np.ndarray, data: np.ndarray, what: str) -> None:
        """Writes bytes [thread, size] of the threads' blocks."""
        places = self._places(block, address, data.shape[1], what)
        self._bytes[places] = data
        self._written[places] = True

    def _places(
        self, block: np.ndarray, address: np.ndarray, size: int, what: str
    ) -> tuple[np.ndarray, np.ndarray]:
        if (address % size).any():
            raise PtxError(f"{what}: misaligned shared access of {size} bytes")
        if ((address < 0) | (address + size > self._bytes.shape[1])).any():
            raise PtxError(f"{what}: shared access out of bounds")
        return block[:, None], address[:, None] + np.arange(size)
