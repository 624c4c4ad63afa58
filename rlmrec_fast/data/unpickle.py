"""Reads a pickle as data: nothing in it is ever imported or executed.

A pickle is a program for a small stack machine. `pickletools` decodes its opcodes and this module
keeps the stack, but a reference to a class or function stays a *name*, and a call is carried out
only when that name has a builder in `pickle_values`. Every other name is refused when it is met, as
are persistent ids, the extension registry and buffers outside the file. Memory stays within a fixed
multiple of the file's size.
"""

from __future__ import annotations

import io
import pickletools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rlmrec_fast.data.pickle_values import (
    BUILDERS,
    KINDS,
    SPARSE,
    Arguments,
    Inert,
    Name,
    Promise,
    RefusedError,
    hashable,
    plain,
    size_of,
    sparse,
)
from rlmrec_fast.errors import DatasetError

_ADMITTED = "hold only numpy arrays, scipy sparse matrices and plain containers"
_LONGEST_MESSAGE = 200


def load_pickle(path: str | Path) -> Any:
    """Reads a pickle (protocols 0 to 5) that holds arrays, sparse matrices and plain containers.

    Args:
        path: The file.

    Returns:
        The value: None, bool, int, float, str, bytes, numpy scalar or dtype; list, tuple, dict, set
        or frozenset of such; numpy array of numbers, booleans or strings, read-only; or sparse
        matrix, always as a `coo_array` with checked coordinates, whichever of scipy's COO, CSR and
        CSC classes was written.

    Raises:
        FileNotFoundError: There is no such file.
        DatasetError: The pickle is damaged or refers to anything else. Nothing of it was executed.
    """
    content = Path(path).read_bytes()
    try:
        return _Machine(len(content)).run(content)
    except RefusedError as error:
        demand, reason = _ADMITTED, str(error)
    # A damaged pickle fails inside the decoder or a builder in many ways, none of which may look
    # like a bug.
    except (ValueError, TypeError, LookupError, OverflowError, MemoryError) as error:
        demand, reason = "be whole and well formed", str(error) or type(error).__name__
    # A name in the file may hold control characters, or be as long as the file.
    reason = "".join(c if c.isprintable() else "?" for c in reason[:_LONGEST_MESSAGE])
    raise DatasetError(f"{path}: the pickle must {demand} (got {reason})")


class _Machine:
    """The stack of one pickle, the marks on it and the memo."""

    def __init__(self, size: int) -> None:
        # Builders copy; a short file could have them copy one long string again and again.
        self.budget = 16 * size + 2**20
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self, content: bytes) -> Any:
        for opcode, argument, position in pickletools.genops(io.BytesIO(content)):
            step = _STEPS.get(opcode.name)
            if step is None:
                raise RefusedError(f"{_describe(opcode.name, argument)} at byte {position}")
            try:
                step(self, argument)
            except RefusedError as error:
                raise RefusedError(f"{error} at byte {position}") from None
        (result,) = plain(self.pop_many(1))
        if self.stack or self.marks:
            raise ValueError(f"{len(self.stack)} values left over at the end")
        return result

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise ValueError("an empty stack")
        return self.stack.pop()

    def pop_many(self, count: int) -> list[Any]:
        return [self.pop() for _ in range(count)][::-1]

    def pop_mark(self) -> list[Any]:
        if not self.marks:
            raise ValueError("a missing mark")
        start = self.marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def filled(self, kind: type[Any]) -> Any:
        """The container on top of the stack."""
        container = self.pop()
        if type(container) is not kind:
            raise ValueError(f"a {type(container).__name__} filled like a {kind.__name__}")
        self.push(container)
        return container

    def put(self, key: int) -> None:
        value = self.pop()
        self.push(value)
        self.memo[key] = value

    def get(self, key: int) -> None:
        if key not in self.memo:
            raise ValueError(f"memo entry {key} that was never put")
        value = self.memo[key]
        self.push(value.value if isinstance(value, Promise) and value.made else value)

    def push_tuple(self, values: list[Any]) -> None:
        inert = any(isinstance(value, Inert) for value in values)
        self.push(Arguments(values) if inert else tuple(values))

    def push_dict(self, values: list[Any]) -> None:
        self.push({})
        self.set_items(values)

    def extend(self, values: list[Any]) -> None:
        self.filled(list).extend(plain(values))

    def add(self, values: list[Any]) -> None:
        self.filled(set).update(hashable(values))

    def set_items(self, values: list[Any]) -> None:
        if len(values) % 2:
            raise ValueError("a key without a value")
        self.filled(dict).update(zip(hashable(values[::2]), plain(values[1::2]), strict=True))

    def push_name(self, module: Any, name: Any) -> None:
        if type(module) is not str or type(name) is not str:
            raise ValueError("a reference whose name is not text")
        full = f"{module}.{name}"
        for now, then in _RENAMED.items():
            full = re.sub(now, then, full)
        if full not in BUILDERS and full not in KINDS and not SPARSE.fullmatch(full):
            raise RefusedError(f"{module}.{name}")
        self.push(Name(full))

    def call(self, name: Any, arguments: Any) -> None:
        if not isinstance(name, Name) or name not in BUILDERS:
            raise RefusedError(
                f"a call of {name if isinstance(name, Name) else type(name).__name__}"
            )
        if not isinstance(arguments, tuple):
            raise ValueError(f"a call of {name} without arguments")
        self.push(self.paid(BUILDERS[name](*arguments)))

    def build(self, promise: Any, state: Any) -> None:
        if not isinstance(promise, Promise):
            raise RefusedError(
                f"a state for {promise if isinstance(promise, Name) else type(promise).__name__}"
            )
        self.push(self.paid(promise.keep(state)))

    def paid(self, value: Any) -> Any:
        self.budget -= size_of(value)
        if self.budget < 0:
            raise RefusedError("far more content than the file has bytes")
        return value


# numpy 2 moved numpy.core to numpy._core and Python 3 renamed two modules; all of them write the
# same values.
_RENAMED = {
    r"^numpy\._core\.": "numpy.core.",
    r"^__builtin__\.": "builtins.",
    r"^copy_reg\.": "copyreg.",
}


def _describe(opcode: str, argument: Any) -> str:
    if opcode == "INST":
        return str(argument).replace(" ", ".")
    if opcode in ("EXT1", "EXT2", "EXT4"):
        return f"extension registry code {argument}"
    if opcode in ("PERSID", "BINPERSID"):
        return "a persistent id"
    if opcode in ("NEXT_BUFFER", "READONLY_BUFFER"):
        return "a buffer outside the file"
    return f"opcode {opcode}"


_LITERALS = (
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT "
    "STRING BINSTRING SHORT_BINSTRING UNICODE SHORT_BINUNICODE BINUNICODE BINUNICODE8 "
    "SHORT_BINBYTES BINBYTES BINBYTES8 BYTEARRAY8"
)
_Step = Callable[[_Machine, Any], None]
_STEPS: dict[str, _Step] = {
    **dict.fromkeys(_LITERALS.split(), _Machine.push),
    **dict.fromkeys(("PROTO", "FRAME", "STOP"), lambda machine, _: None),
    "NONE": lambda machine, _: machine.push(None),
    "NEWTRUE": lambda machine, _: machine.push(True),
    "NEWFALSE": lambda machine, _: machine.push(False),
    "MARK": lambda machine, _: machine.marks.append(len(machine.stack)),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "LIST": lambda machine, _: machine.push(list(plain(machine.pop_mark()))),
    "APPEND": lambda machine, _: machine.extend(machine.pop_many(1)),
    "APPENDS": lambda machine, _: machine.extend(machine.pop_mark()),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "TUPLE": lambda machine, _: machine.push_tuple(machine.pop_mark()),
    "TUPLE1": lambda machine, _: machine.push_tuple(machine.pop_many(1)),
    "TUPLE2": lambda machine, _: machine.push_tuple(machine.pop_many(2)),
    "TUPLE3": lambda machine, _: machine.push_tuple(machine.pop_many(3)),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "DICT": lambda machine, _: machine.push_dict(machine.pop_mark()),
    "SETITEM": lambda machine, _: machine.set_items(machine.pop_many(2)),
    "SETITEMS": lambda machine, _: machine.set_items(machine.pop_mark()),
    "EMPTY_SET": lambda machine, _: machine.push(set()),
    "ADDITEMS": lambda machine, _: machine.add(machine.pop_mark()),
    "FROZENSET": lambda machine, _: machine.push(frozenset(hashable(machine.pop_mark()))),
    "PUT": _Machine.put,
    "BINPUT": _Machine.put,
    "LONG_BINPUT": _Machine.put,
    "MEMOIZE": lambda machine, _: machine.put(len(machine.memo)),
    "GET": _Machine.get,
    "BINGET": _Machine.get,
    "LONG_BINGET": _Machine.get,
    "GLOBAL": lambda machine, name: machine.push_name(*name.split(" ", 1)),
    "STACK_GLOBAL": lambda machine, _: machine.push_name(*machine.pop_many(2)),
    "REDUCE": lambda machine, _: machine.call(*machine.pop_many(2)),
    "NEWOBJ": lambda machine, _: machine.push(sparse(*machine.pop_many(2))),
    "BUILD": lambda machine, _: machine.build(*machine.pop_many(2)),
}
