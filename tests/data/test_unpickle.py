from __future__ import annotations

import collections
import contextlib
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from rlmrec_fast.data.unpickle import load_pickle
from rlmrec_fast.errors import DatasetError

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
DENSE = np.array([[1.0, 0.0, 2.0], [0.0, 0.0, 0.0], [0.0, 3.0, 0.0], [4.0, 0.0, 0.0]])


def load(path: Path, content: bytes) -> Any:
    file = path / "file.pkl"
    file.write_bytes(content)
    return load_pickle(file)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        -1,
        2**70,
        0.1,
        "héllo\n",
        b"\x00\xff",
        bytearray(b"ab"),
        [],
        [1, [2, (3,)], ()],
        {"a": {1: "x"}, 2: None, b"k": 1.5},
        {1, "two"},
        frozenset({3}),
        (1, 2, 3, 4),
        {n: {"profile": f"text {n}", "reasoning": "so"} for n in range(300)},
        collections.OrderedDict(a=1),
        np.float32(1.5),
        [np.int64(3), np.str_("x")],
        np.dtype(">i2"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_plain_values_are_read_as_they_were_written(
    tmp_path: Path, value: Any, protocol: int
) -> None:
    assert load(tmp_path, pickle.dumps(value, protocol)) == value


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "array",
    [
        np.arange(12.0).reshape(3, 4),
        np.asfortranarray(np.arange(6, dtype=np.int32).reshape(2, 3)),
        np.arange(10)[::3],
        np.arange(5, dtype=">f4"),
        np.array(7, np.uint16),
        np.zeros((0, 3), np.float16),
        np.array([True, False]),
        np.array(["a", "bcd"]),
        np.array([b"xy", b""]),
    ],
    ids=lambda array: f"{array.dtype}-{array.shape}",
)
def test_arrays_keep_values_shape_and_type(
    tmp_path: Path, array: np.ndarray[Any, Any], protocol: int
) -> None:
    result = load(tmp_path, pickle.dumps(array, protocol))
    np.testing.assert_array_equal(result, array)
    assert result.dtype == array.dtype.newbyteorder("=")
    assert type(result) is np.ndarray


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "kind",
    [sp.coo_matrix, sp.coo_array, sp.csr_matrix, sp.csr_array, sp.csc_matrix, sp.csc_array],
)
def test_sparse_matrices_of_every_class_keep_their_entries(
    tmp_path: Path, kind: Any, protocol: int
) -> None:
    result = load(tmp_path, pickle.dumps(kind(DENSE), protocol))
    assert type(result) is sp.coo_array
    np.testing.assert_array_equal(result.toarray(), DENSE)


@pytest.mark.parametrize("module", ["scipy.sparse.coo", "scipy.sparse._coo", "scipy.sparse"])
def test_matrices_of_older_scipy_with_row_and_col_are_read(tmp_path: Path, module: str) -> None:
    state = {
        "_shape": (2, 3),
        "maxprint": 50,
        "row": np.array([0, 1], np.int32),
        "col": np.array([2, 0], np.int32),
        "data": np.ones(2),
        "has_canonical_format": False,
    }
    result = load(tmp_path, sparse_pickle(state, module, "coo_matrix"))
    np.testing.assert_array_equal(result.toarray(), [[0, 0, 1], [1, 0, 0]])


def test_numpy_1_module_names_are_read(tmp_path: Path) -> None:
    content = pickle.dumps(np.arange(3), 2).replace(b"numpy._core", b"numpy.core")
    np.testing.assert_array_equal(load(tmp_path, content), [0, 1, 2])


def test_one_array_twice_is_read_as_one(tmp_path: Path) -> None:
    array = np.arange(3)
    first, second = load(tmp_path, pickle.dumps([array, array]))
    assert first is second


def sparse_pickle(state: Any, module: str = "scipy.sparse._csr", name: str = "csr_matrix") -> bytes:
    """A pickle of a scipy matrix whose instance state is anything."""
    head = b"c" + module.encode() + b"\n" + name.encode() + b"\n)\x81"
    return b"\x80\x04" + head + pickle.dumps(state, 2)[2:-1] + b"b."


GOOD = {
    "_shape": (2, 3),
    "indptr": np.array([0, 1, 2]),
    "indices": np.array([2, 0]),
    "data": np.ones(2),
}
GOOD_COO = {"_shape": (2, 3), "row": np.array([0, 1]), "col": np.array([2, 0]), "data": np.ones(2)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"indices": np.array([2, 3])}, "column 3 outside"),
        ({"indices": np.array([-1, 0])}, "column -1 outside"),
        ({"indices": np.array([2, 2**40])}, "column 1099511627776 outside"),
        ({"indptr": np.array([0, 5, 2])}, "do not delimit"),
        ({"indptr": np.array([-4, 1, 2])}, "do not delimit"),
        ({"indptr": np.array([0, 1, 2**40])}, "1099511627776 entries with 2 given"),
        ({"indptr": np.array([0, 2])}, "do not delimit"),
        ({"indptr": np.array([0.0, 1.0, 2.0])}, "not a vector"),
        ({"indptr": [0, 1, 2]}, "not a vector"),
        ({"indices": np.zeros((2, 1), int)}, "not a vector"),
        ({"data": np.ones(1)}, "2 entries with 1 given"),
        ({"data": np.array(["a", "b"])}, "not a vector"),
        ({"data": None}, "not a vector"),
        ({"_shape": (2,)}, "not two-dimensional"),
        ({"_shape": (2, 3, 4)}, "not two-dimensional"),
        ({"_shape": "ab"}, "not two-dimensional"),
        ({"_shape": (2, -3)}, "side of -3"),
        ({"_shape": (2, 10**12)}, "side of 1000000000000"),
        ({"_shape": (10**12, 3)}, "side of 1000000000000"),
        ({"_shape": (2.0, 3)}, "side of 2.0"),
    ],
)
def test_a_compressed_matrix_with_a_hostile_state_is_refused(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    np.testing.assert_array_equal(
        load(tmp_path, sparse_pickle(GOOD)).toarray(), [[0, 0, 1], [1, 0, 0]]
    )
    with pytest.raises(DatasetError, match=message):
        load(tmp_path, sparse_pickle({**GOOD, **change}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"row": np.array([0, 2])}, "row 2 outside"),
        ({"col": np.array([0, -1])}, "column -1 outside"),
        ({"row": np.array([0])}, "2 values at 1 rows"),
        ({"row": np.array([0, 2**32])}, "row 4294967296 outside"),
        ({"row": np.array([0, 2**64 - 1], np.uint64)}, "outside"),
        ({"coords": (np.array([0, 1]),)}, "not a pair"),
        ({"coords": [np.array([0, 1])] * 2}, "not a pair"),
        ({"data": np.ones((2, 1))}, "not a vector"),
    ],
)
def test_a_coordinate_matrix_with_a_hostile_state_is_refused(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    assert load(tmp_path, sparse_pickle(GOOD_COO, name="coo_matrix")).nnz == 2
    with pytest.raises(DatasetError, match=message):
        load(tmp_path, sparse_pickle({**GOOD_COO, **change}, name="coo_matrix"))


def test_a_state_that_is_no_dict_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="state is a tuple"):
        load(tmp_path, sparse_pickle((None, {"shape": (1, 1)})))


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    value = {"m": sp.coo_matrix(DENSE), "v": np.arange(3.0), "t": ("x", 1)}
    for protocol in (2, 5):
        content = pickle.dumps(value, protocol)
        for length in range(len(content)):
            with pytest.raises(DatasetError):
                load(tmp_path, content[:length])


def test_damaged_bytes_never_raise_anything_but_a_data_set_error(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    seeds = [
        pickle.dumps({"m": sp.csr_matrix(DENSE), "v": np.arange(3.0), "t": {"x": [1]}}, protocol)
        for protocol in PROTOCOLS
    ]
    for number in range(1500):
        content = bytearray(seeds[number % len(seeds)])
        for _ in range(rng.integers(1, 4)):
            content[rng.integers(len(content))] = rng.integers(256)
        with contextlib.suppress(DatasetError):
            load(tmp_path, bytes(content))


def test_what_follows_the_end_is_not_read(tmp_path: Path) -> None:
    assert load(tmp_path, pickle.dumps([1]) + b"cos\nsystem\n.") == [1]


def test_values_left_over_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="left over"):
        load(tmp_path, b"K\x01K\x02.")


def test_a_missing_file_is_told_as_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_pickle(tmp_path / "none.pkl")
