"""Malicious pickles: each is refused, by name where it has one, and nothing of it runs."""

from __future__ import annotations

import builtins
import copyreg
import functools
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from rlmrec_fast.data.unpickle import load_pickle
from rlmrec_fast.errors import DatasetError

MARKER = "something-ran"
COMMAND = f"touch {MARKER}"
CODE = f"open({MARKER!r}, 'w').close()"


class Calls:
    """Pickles as a call of a function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any, state: Any = None) -> None:
        self.function, self.arguments, self.state = function, arguments, state

    def __reduce__(self) -> tuple[Any, ...]:
        return (self.function, self.arguments, *([self.state] if self.state else []))


@pytest.fixture(autouse=True)
def nothing_ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Runs each test in an empty folder, where no marker may stand at its end."""
    monkeypatch.chdir(tmp_path)
    yield
    assert not (tmp_path / MARKER).exists()


def refuse(content: bytes) -> str:
    file = Path("hostile.pkl")
    file.write_bytes(content)
    with pytest.raises(DatasetError) as caught:
        load_pickle(file)
    assert str(caught.value).startswith("hostile.pkl: ")
    return str(caught.value)


def text(value: str) -> bytes:
    return b"X" + len(value.encode()).to_bytes(4, "little") + value.encode()


def reference(module: str, name: str) -> bytes:
    """STACK_GLOBAL, whose name may be dotted."""
    return text(module) + text(name) + b"\x93"


RUNS = {
    "posix.system": Calls(os.system, COMMAND),
    "builtins.eval": Calls(eval, CODE),
    "builtins.exec": Calls(exec, CODE),
    "builtins.__import__": Calls(builtins.__import__, "os"),
    "builtins.getattr": Calls(getattr, "", "join"),
    "builtins.open": Calls(open, MARKER, "w"),
    "subprocess.Popen": Calls(subprocess.Popen, ["touch", MARKER]),
    "functools.partial": Calls(functools.partial, os.system, COMMAND),
    "builtins.map": Calls(map, os.system, [COMMAND]),
    "numpy.load": Calls(np.load, MARKER),
    "numpy.memmap": Calls(np.memmap, MARKER, "uint8", "w+", 0, (1,)),
    "numpy.save": Calls(np.save, MARKER, np.ones(1)),
    "numpy.apply_along_axis": Calls(np.apply_along_axis, exec, 0, [CODE]),
    "numpy.vectorize": Calls(np.vectorize, os.system),
    "scipy.sparse._matrix_io.load_npz": Calls(sp.load_npz, MARKER),
    "copyreg.add_extension": Calls(copyreg.add_extension, "os", "system", 241),
    "pickle.loads": Calls(pickle.loads, pickle.dumps(Calls(os.system, COMMAND))),
}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("name", RUNS)
def test_a_call_is_refused_by_name(name: str, protocol: int) -> None:
    message = refuse(pickle.dumps(RUNS[name], protocol))
    assert name.split(".")[-1] in message
    assert "must hold only numpy arrays" in message


def test_the_name_is_told_as_the_file_has_it() -> None:
    assert "(got posix.system at byte" in refuse(pickle.dumps(Calls(os.system, COMMAND)))


def test_the_same_pickles_do_run_where_pickle_reads_them(tmp_path: Path) -> None:
    marker = tmp_path / MARKER
    for name in ("posix.system", "builtins.eval", "builtins.open", "numpy.save"):
        pickle.loads(pickle.dumps(RUNS[name]))
        written = marker if marker.exists() else marker.with_suffix(".npy")
        written.unlink()


@pytest.mark.parametrize(
    "wrap",
    [
        lambda bad: [1, bad],
        lambda bad: {"profile": bad},
        lambda bad: {bad: 1},
        lambda bad: (np.arange(3), bad),
        lambda bad: np.array([bad, None], dtype=object),
        lambda bad: Calls(dict, [(1, bad)]),
    ],
)
def test_a_call_inside_something_admitted_is_refused(wrap: Callable[[Any], Any]) -> None:
    message = refuse(pickle.dumps(wrap(Calls(os.system, COMMAND))))
    assert "posix.system" in message or "Python objects" in message or "builtins.dict" in message


def test_a_call_behind_a_whole_matrix_is_refused() -> None:
    matrix = sp.coo_matrix(np.eye(3))
    refuse(pickle.dumps([matrix, Calls(os.system, COMMAND)]))


def test_a_module_is_not_even_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "imported_by_a_pickle.py").write_text(CODE)
    monkeypatch.syspath_prepend(str(tmp_path))
    for content in (
        b"cimported_by_a_pickle\nthing\n.",
        b"\x80\x04" + reference("imported_by_a_pickle", "thing") + b".",
        b"(iimported_by_a_pickle\nthing\n.",
    ):
        assert "imported_by_a_pickle.thing" in refuse(content)
    assert "imported_by_a_pickle" not in sys.modules


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("numpy", "f2py.os.system"),
        ("numpy", "ndarray.__class__.__base__.__subclasses__"),
        ("numpy.core.multiarray", "_reconstruct.__globals__"),
        ("scipy.sparse", "coo_matrix.__init__"),
        ("scipy.sparse._coo", "coo_matrix.__class__"),
        ("builtins", "bytes.fromhex"),
        ("_codecs", "encode.__self__"),
        ("builtins", "object"),
        ("os", "system\n"),
        ("", ""),
    ],
)
def test_dotted_and_odd_references_are_refused(module: str, name: str) -> None:
    content = b"\x80\x04" + reference(module, name) + text(COMMAND) + b"\x85R."
    refuse(content)


def test_a_name_made_of_other_things_than_text_is_refused() -> None:
    refuse(b"\x80\x04K\x01" + text("system") + b"\x93.")
    refuse(b"\x80\x04" + reference("numpy", "ndarray") + text("x") + b"\x93.")


@pytest.mark.parametrize(
    "name", ["lil_matrix", "dok_matrix", "bsr_matrix", "dia_array", "spmatrix", "load_npz"]
)
def test_other_sparse_classes_are_refused_by_name(name: str) -> None:
    assert f"scipy.sparse.{name}" in refuse(
        b"\x80\x04" + reference("scipy.sparse", name) + b")\x81."
    )


@pytest.mark.parametrize(
    ("kind", "name"), [(np.matrix, "matrix"), (np.recarray, "recarray"), (np.memmap, "memmap")]
)
def test_subclasses_of_arrays_are_refused_by_name(kind: Any, name: str) -> None:
    assert f"{name} at byte" in refuse(pickle.dumps(np.ones((2, 2)).view(kind)))


def test_masked_arrays_are_refused_by_name() -> None:
    assert "_mareconstruct" in refuse(pickle.dumps(np.ma.ones(2)))


def test_object_arrays_and_object_scalars_are_refused() -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert "Python objects" in refuse(pickle.dumps(np.array([{}], dtype=object), protocol))
    # numpy's own scalar() unpickles the bytes of an object scalar.
    inner = pickle.dumps(Calls(os.system, COMMAND))
    scalar = reference("numpy.core.multiarray", "scalar")
    dtype = reference("numpy", "dtype") + text("O8") + b"\x89\x88\x87R"
    body = b"C" + bytes([len(inner)]) + inner
    assert "Python objects" in refuse(b"\x80\x04" + scalar + dtype + body + b"\x86R.")


@pytest.mark.parametrize(
    "dtype", [[("a", "O")], [("a", "i4")], "M8[s]", "V4", "c16", "(2,)i4"], ids=str
)
def test_dtypes_of_other_kinds_are_refused(dtype: Any) -> None:
    refuse(pickle.dumps(np.dtype(dtype)))


def test_a_number_dtype_with_the_state_of_a_record_is_refused() -> None:
    dtype = reference("numpy", "dtype") + text("i4") + b"\x89\x88\x87R"
    state = pickle.dumps((3, "<", None, ("a",), {"a": ("O", 0)}, 8, 1, 0), 2)[2:-1]
    assert "structured" in refuse(b"\x80\x04" + dtype + state + b"b.")


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"Pos.system\n.", "a persistent id"),
        (b"\x80\x02K\x01Q.", "a persistent id"),
        (b"\x80\x02\x82\xf1.", "extension registry code 241"),
        (b"\x80\x02\x83\xf1\x00.", "extension registry code 241"),
        (b"\x80\x02\x84\xf1\x00\x00\x00.", "extension registry code 241"),
        (b"(S'touch x'\nios\nsystem\n.", "os.system"),
        (b"(cos\nsystem\nS'touch x'\no.", "os.system"),
        (b"(cnumpy\nndarray\nI1\no.", "opcode OBJ"),
        (b"\x80\x04cnumpy\nndarray\n)}\x92.", "opcode NEWOBJ_EX"),
        (b"\x80\x05\x97.", "a buffer outside the file"),
        (b"\x80\x05\x97\x98.", "a buffer outside the file"),
        (b"\x80\x042.", "opcode DUP"),
    ],
)
def test_opcodes_that_reach_beyond_the_file_are_refused(content: bytes, name: str) -> None:
    copyreg.add_extension("posix", "system", 241)
    try:
        assert name in refuse(content)
    finally:
        copyreg.remove_extension("posix", "system", 241)


@pytest.mark.parametrize(
    "content",
    [
        b"cnumpy\nndarray\n.",
        b"(lcnumpy\nndarray\na.",
        b"](cnumpy\nndarray\ne.",
        b"}(K\x01cnumpy\nndarray\nu.",
        b"(K\x01cnumpy\nndarray\nd.",
        b"]cnumpy\nndarray\n\x85a.",
        b"cscipy.sparse\ncoo_matrix\n)\x81.",
        b"](cscipy.sparse\ncoo_matrix\n)\x81e.",
    ],
)
def test_a_bare_reference_is_no_value(content: bytes) -> None:
    message = refuse(b"\x80\x04" + content)
    assert "where a value must stand" in message or "as a key" in message


@pytest.mark.parametrize(
    "content",
    [
        # A state for a class or function would change this very program.
        b"cnumpy\nndarray\n}X\x01\x00\x00\x00aK\x01sb.",
        b"cnumpy.core.multiarray\n_reconstruct\nN}X\x08\x00\x00\x00__code__K\x01s\x86b.",
        b"cscipy.sparse\ncoo_matrix\nN}X\x07\x00\x00\x00__new__K\x01s\x86b.",
        b"]}b.",
        b"K\x01}b.",
        # Calls of what was not meant to be called, or not with this.
        b"cnumpy\nndarray\n)R.",
        b"cscipy.sparse\ncoo_matrix\n)R.",
        b"])R.",
        b"cnumpy\nndarray\n)\x81.",
        b"cnumpy\ndtype\n)\x81.",
        b"ccopyreg\n_reconstructor\ncnumpy\nndarray\nc__builtin__\nobject\nN\x87R.",
        b"ccopyreg\n_reconstructor\ncscipy.sparse\ncoo_matrix\nc__builtin__\nobject\nK\x01\x87R.",
        b"cnumpy.core.multiarray\n_reconstruct\ncbuiltins\nobject\nK\x00\x85C\x01b\x87R.",
        b"c_codecs\nencode\nX\x01\x00\x00\x00aX\x03\x00\x00\x00zip\x86R.",
        b"cbuiltins\nbytes\nJ\xff\xff\xff\x7f\x85R.",
        b"cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R.",
        b"cbuiltins\nset\nX\x02\x00\x00\x00ab\x85R.",
        b"ccollections\nOrderedDict\n](K\x01K\x02e\x85R.",
    ],
)
def test_calls_and_states_that_no_array_needs_are_refused(content: bytes) -> None:
    refuse(b"\x80\x04" + content)


def array_pickle(shape: Any, content: bytes, code: str = "f8") -> bytes:
    """An array whose claimed shape need not fit its content."""
    head = reference("numpy.core.multiarray", "_reconstruct") + reference("numpy", "ndarray")
    dtype = reference("numpy", "dtype") + text(code) + b"\x89\x88\x87R("
    state = b"K\x03" + text("<") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    claimed = pickle.dumps(shape, 2)[2:-1]
    body = b"B" + len(content).to_bytes(4, "little") + content
    made = b"\x80\x04" + head + b"K\x00\x85C\x01b\x87R"
    return made + b"(K\x01" + claimed + dtype + state + b"\x89" + body + b"tb."


def test_an_array_made_by_hand_is_read_if_it_is_sound() -> None:
    file = Path("sound.pkl")
    file.write_bytes(array_pickle((2,), np.array([1.0, 2.0]).tobytes()))
    np.testing.assert_array_equal(load_pickle(file), [1.0, 2.0])


@pytest.mark.parametrize(
    "shape",
    [(10**9,), (2**62, 2**62), (2**70,), (-2,), (-1, -2), (1.5,), ("2",), (2,) * 40, (1,), (3,)],
)
def test_a_shape_that_its_content_does_not_fill_is_refused(shape: Any) -> None:
    refuse(array_pickle(shape, np.array([1.0, 2.0]).tobytes()))


@pytest.mark.parametrize("code", ["U0", "S0", "U9999999", "f16", "f3", "i4,O", "O", "|O8", "?x"])
def test_odd_type_codes_are_refused(code: str) -> None:
    refuse(array_pickle((10**9,), b"", code))


def test_short_files_that_claim_much_memory_are_refused() -> None:
    many = 2**62
    refuse(b"\x80\x04\x8e" + many.to_bytes(8, "little") + b"x.")  # bytes of 4 EiB
    refuse(b"\x80\x04\x8d" + many.to_bytes(8, "little") + b"x.")  # text
    refuse(b"\x80\x05\x96" + many.to_bytes(8, "little") + b"x.")  # bytearray
    refuse(b"\x80\x04\x8b" + (2**31 - 1).to_bytes(4, "little") + b"x.")  # a number
    refuse(b"\x80\x04\x95" + many.to_bytes(8, "little") + b"x.")  # a frame


def test_a_far_memo_entry_takes_no_memory() -> None:
    file = Path("memo.pkl")
    file.write_bytes(b"\x80\x02K\x07r\xff\xff\xff\xff.")
    assert load_pickle(file) == 7


def test_one_long_text_copied_again_and_again_is_refused() -> None:
    long = text("x" * 100_000) + b"q\x00" + text("latin1") + b"q\x01"
    copy = b"c_codecs\nencode\nh\x00h\x01\x86R"
    message = refuse(b"\x80\x04" + long + b"](" + copy * 1000 + b"e.")
    assert "more content than the file has bytes" in message


def test_keys_that_take_forever_to_hash_are_refused() -> None:
    # Sixty tuples, each the one before it twice: 2**60 steps for a hash.
    nested = b")q\x00" + b"".join(b"h%ch%c\x86q%c" % (n, n, n + 1) for n in range(60))
    assert "a tuple as a key" in refuse(b"\x80\x04" + nested + b"}h\x3cK\x01s.")
    assert "a tuple as a key" in refuse(b"\x80\x04" + nested + b"\x8f(h\x3c\x90.")


def test_a_hundred_thousand_nested_lists_do_not_exhaust_the_stack() -> None:
    file = Path("deep.pkl")
    file.write_bytes(b"\x80\x04" + b"]" * 100_000 + b"a" * 99_999 + b".")
    assert len(load_pickle(file)) == 1


def test_a_long_or_unprintable_name_does_not_flood_the_message() -> None:
    message = refuse(b"\x80\x04" + reference("\x1b[2J\n" + "x" * 10_000, "y") + b".")
    assert message.isprintable()
    assert len(message) < 500
