"""The native module as callers without rlmrec_fast.graph meet it."""

from __future__ import annotations

import inspect
import threading

import numpy as np
import pytest

from rlmrec_fast import _native

IDS = np.array([0, 1])
OFFSETS = np.array([0, 1, 2])
PAIRS = {"users": IDS, "items": IDS, "num_users": 2, "num_items": 2}

CALLS = {
    "build_graph": PAIRS | {"self_loops": False},
    "restore_graph": {
        "offsets": OFFSETS,
        "columns": IDS.astype(np.int32),
        "num_users": 2,
        "num_items": 2,
        "self_loops": True,
    },
    "build_weighted_graph": {"offsets": OFFSETS, "columns": IDS, "num_columns": 2},
    "build_symmetric_graph": {"offsets": OFFSETS, "columns": IDS},
    "partition_rows": {"offsets": OFFSETS, "target": 1},
    "k_core": PAIRS | {"user_min": 1, "item_min": 1},
    "split_per_user": PAIRS | {"ratios": (3, 1, 1), "seed": 0},
}
WHERE = {
    "build_graph": "InteractionGraph",
    "restore_graph": "InteractionGraph",
    "build_weighted_graph": "WeightedGraph",
    "build_symmetric_graph": "SymmetricGraph",
}
HOSTILE = [
    None,
    True,
    "x",
    1.5,
    -1,
    2**31,
    2**64,
    -(2**64),
    float("nan"),
    [],
    object(),
    np.array(3),
    np.zeros((2, 2), np.int64),
    np.zeros(2, np.float64),
    np.zeros(2, bool),
    np.array([0, 2**62]),
    np.array([2**63 - 1, -(2**63)]),
    np.array([None, 1]),
    np.zeros(0, np.int64),
    np.zeros(0, np.int32),
    np.array([-1, 2**31 - 1], np.int32),
    np.array([0, 1], ">i8"),
]


@pytest.mark.parametrize("name", CALLS)
def test_every_function_takes_its_arguments_by_name(name):
    assert getattr(_native, name)(**CALLS[name]) is not None


@pytest.mark.parametrize(
    ("name", "argument"), [(name, argument) for name, call in CALLS.items() for argument in call]
)
def test_hostile_arguments_are_refused_by_name_or_harmless(name, argument):
    function = getattr(_native, name)
    where = WHERE.get(name, name)
    for value in HOSTILE:
        message = ""
        try:
            function(**CALLS[name] | {argument: value})
        except (ValueError, TypeError) as error:
            message = str(error)
        # A changed size or length may also be told by the argument that no longer fits it.
        known = [f"{where}: {other}" for other in CALLS[name]]
        assert message == "" or message.startswith(tuple(known)), (value, message)


def test_a_missing_or_unknown_argument_is_a_type_error():
    with pytest.raises(TypeError):
        _native.k_core()
    with pytest.raises(TypeError):
        _native.build_graph(**PAIRS, colour="red")


def test_strided_and_unaligned_arrays_are_read_rightly():
    unaligned = np.frombuffer(b"x" + OFFSETS.tobytes(), np.int64, offset=1)
    assert not unaligned.flags.aligned
    expected = _native.partition_rows(OFFSETS, 1).tolist()
    assert _native.partition_rows(unaligned, 1).tolist() == expected
    assert _native.partition_rows(np.repeat(OFFSETS, 2)[::2], 1).tolist() == expected


def test_partition_rows_cuts_any_rows():
    assert _native.partition_rows(np.array([0, 1, 10, 12]), target=4).tolist() == [
        [0, 0],
        [1, 1],
        [1, 5],
        [1, 9],
        [2, 10],
        [3, 12],
    ]
    assert _native.PARTITION_TARGET == 4096


def test_partition_of_an_impossible_size_fails_at_once():
    with pytest.raises(ValueError, match=r"^partition_rows: offsets must end below"):
        _native.partition_rows(np.array([0, 2**62]), 1)
    with pytest.raises(MemoryError):
        _native.partition_rows(np.array([0, 2**47]), 1)


def test_results_outlive_their_call_and_can_be_written():
    arrays = [_native.build_graph(**PAIRS)["columns"] for _ in range(100)]
    for array in arrays:
        array += 1
    assert all(array.tolist() == [3, 4, 1, 2] for array in arrays)


def test_calls_from_many_threads_agree():
    rng = np.random.default_rng(0)
    users, items = rng.integers(0, 500, (2, 20_000))
    expected = _native.build_graph(users, items, 500, 500)["reverse"]
    results: list[np.ndarray] = []

    def work() -> None:
        results.append(_native.build_graph(users, items, 500, 500)["reverse"])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    assert all(np.array_equal(result, expected) for result in results)


def test_reports_have_the_promised_fields():
    build = _native.build_info()
    assert build["cxx_standard"] == 20
    assert build["cuda"] in (True, False)
    assert {key for key, value in build.items() if isinstance(value, str) and value} == {
        "version",
        "compiler",
        "build_type",
        "python",
        "pybind11",
        "torch",
    }
    cpu = _native.cpu_info()
    assert cpu["isa"] in ("baseline", "avx2", "avx512")
    assert cpu["brand"]
    assert cpu["architecture"] in ("x86_64", "aarch64", "unknown")
    assert (cpu["isa"] == "avx512") <= ("avx512f" in cpu["features"])
    assert (cpu["isa"] != "baseline") <= ("avx2" in cpu["features"])


def test_every_function_says_what_it_does():
    for name, function in inspect.getmembers(_native, callable):
        if not name.startswith("_"):
            assert len(function.__doc__.splitlines()[-1]) > 20, name
