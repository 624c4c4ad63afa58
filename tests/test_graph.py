"""InteractionGraph, WeightedGraph, k_core and split_per_user."""

from __future__ import annotations

import copy
import io
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from rlmrec_fast.graph import InteractionGraph, WeightedGraph, k_core, split_per_user

U, I = 30, 20
N = U + I


@pytest.fixture
def pairs() -> tuple[np.ndarray, np.ndarray]:
    """Random pairs with repetitions; users 27.. and items 18.. have none."""
    rng = np.random.default_rng(0)
    return rng.integers(0, 27, 300), rng.integers(0, 18, 300)


def dense_adjacency(users: np.ndarray, items: np.ndarray, self_loops: bool) -> np.ndarray:
    adjacency = np.eye(N, dtype=bool) & self_loops
    adjacency[users, U + items] = True
    adjacency[U + items, users] = True
    return adjacency


def tensors_of(graph: InteractionGraph | WeightedGraph) -> dict[str, torch.Tensor]:
    return {name: v for name, v in vars(graph).items() if isinstance(v, torch.Tensor)}


def assert_same(a: InteractionGraph | WeightedGraph, b: InteractionGraph | WeightedGraph) -> None:
    assert vars(a).keys() == vars(b).keys()
    for name, value in vars(a).items():
        other = vars(b)[name]
        if isinstance(value, torch.Tensor):
            assert value.dtype == other.dtype, name
            assert torch.equal(value, other), name
        else:
            assert value == other, name


# --- What the graph holds ---------------------------------------------------------------------


@pytest.mark.parametrize("self_loops", [False, True])
def test_rows_are_those_of_the_dense_adjacency(pairs, self_loops):
    graph = InteractionGraph.from_pairs(*pairs, U, I, self_loops=self_loops)
    expected = sp.csr_array(dense_adjacency(*pairs, self_loops))
    np.testing.assert_array_equal(graph.offsets, expected.indptr)
    np.testing.assert_array_equal(graph.columns, expected.indices)
    np.testing.assert_array_equal(graph.degrees, np.diff(expected.indptr))


@pytest.mark.parametrize("self_loops", [False, True])
def test_reverse_is_the_position_of_the_opposite_edge(pairs, self_loops):
    graph = InteractionGraph.from_pairs(*pairs, U, I, self_loops=self_loops)
    rows = torch.repeat_interleave(torch.arange(N), graph.degrees)
    assert torch.equal(rows[graph.reverse], graph.columns.long())
    assert torch.equal(graph.columns[graph.reverse].long(), rows)
    assert torch.equal(graph.reverse[graph.reverse], torch.arange(len(rows)))
    loops = (rows == graph.columns).nonzero().squeeze(1)
    assert len(loops) == (N if self_loops else 0)
    assert torch.equal(graph.reverse[loops], loops)


def test_types_and_sizes_are_those_promised(pairs):
    graph = InteractionGraph.from_pairs(*pairs, U, I)
    distinct = len(set(zip(*map(np.ndarray.tolist, pairs), strict=True)))
    assert (graph.num_users, graph.num_items, graph.num_nodes) == (U, I, N)
    assert graph.num_interactions == distinct
    assert {name: t.dtype for name, t in tensors_of(graph).items() if not name.startswith("_")} == {
        "offsets": torch.int64,
        "columns": torch.int32,
        "reverse": torch.int64,
        "degrees": torch.int64,
        "inv_sqrt_degrees": torch.float64,
        "partition": torch.int64,
    }
    assert graph.offsets.shape == (N + 1,)
    assert graph.columns.shape == graph.reverse.shape == (2 * distinct,)


def test_inverse_square_roots_are_exact_and_0_for_nodes_without_edges(pairs):
    graph = InteractionGraph.from_pairs(*pairs, U, I)
    expected = [0.0 if d == 0 else 1.0 / float(np.sqrt(d)) for d in graph.degrees.tolist()]
    assert 0.0 in expected
    assert graph.inv_sqrt_degrees.tolist() == expected


@pytest.mark.parametrize("self_loops", [False, True])
def test_interactions_and_both_directions_agree(pairs, self_loops):
    graph = InteractionGraph.from_pairs(*pairs, U, I, self_loops=self_loops)
    users, items = graph.interactions()
    expected = sorted(set(zip(*map(np.ndarray.tolist, pairs), strict=True)))
    assert users.dtype == items.dtype == torch.int64
    assert list(zip(users.tolist(), items.tolist(), strict=True)) == expected
    matrix = sp.csr_array((np.ones(len(expected)), (users, items)), shape=(U, I))
    for (offsets, ids), rows in ((graph.user_items, matrix), (graph.item_users, matrix.T.tocsr())):
        assert offsets.dtype == torch.int64
        assert ids.dtype == torch.int32
        np.testing.assert_array_equal(offsets, rows.indptr)
        np.testing.assert_array_equal(ids, rows.indices)


@pytest.mark.parametrize("self_loops", [False, True])
def test_a_graph_without_interactions_is_whole(self_loops):
    graph = InteractionGraph.from_pairs([], [], 3, 2, self_loops=self_loops)
    assert graph.num_interactions == 0
    assert graph.columns.tolist() == (list(range(5)) if self_loops else [])
    assert graph.degrees.tolist() == [int(self_loops)] * 5
    assert graph.partition.tolist() == [[0, 0], [5, 5 if self_loops else 0]]
    assert [t.tolist() for t in graph.interactions()] == [[], []]


def test_input_order_and_repetitions_do_not_matter(pairs):
    users, items = pairs
    order = np.random.default_rng(1).permutation(np.repeat(np.arange(len(users)), 2))
    graph = InteractionGraph.from_pairs(users[order], items[order], U, I)
    assert_same(graph, InteractionGraph.from_pairs(users, items, U, I))


# --- What can be built from -------------------------------------------------------------------


@pytest.mark.parametrize(
    "convert",
    [
        np.ndarray.tolist,
        torch.from_numpy,
        lambda a: a.astype(np.int8),
        lambda a: a.astype(np.uint64),
        lambda a: a.astype(np.float16),
        lambda a: a.astype(">i4"),
        lambda a: np.repeat(a, 2)[::2],
        lambda a: np.frombuffer(b"x" + a.tobytes(), np.int64, offset=1),
        lambda a: torch.from_numpy(a).to(torch.int16),
        lambda a: torch.from_numpy(a).to(torch.bfloat16),
        lambda a: torch.from_numpy(a).double().requires_grad_(),
    ],
    ids="list int64-tensor int8 uint64 float16 big-endian strided unaligned int16 bf16 grad".split(),
)
def test_ids_of_any_kind_of_whole_number_give_the_same_graph(pairs, convert):
    graph = InteractionGraph.from_pairs(*map(convert, pairs), U, I)
    assert_same(graph, InteractionGraph.from_pairs(*pairs, U, I))


@pytest.mark.parametrize("form", "coo csr csc lil dok bsr".split())
@pytest.mark.parametrize("container", [sp.coo_array, sp.coo_matrix])
def test_any_scipy_format_gives_the_same_graph(pairs, form, container):
    expected = InteractionGraph.from_pairs(*pairs, U, I)
    matrix = container((np.full(len(pairs[0]), 0.5), pairs), shape=(U, I)).asformat(form)
    assert_same(InteractionGraph.from_scipy(matrix), expected)
    looped = InteractionGraph.from_scipy(matrix, self_loops=True)
    assert_same(looped, InteractionGraph.from_pairs(*pairs, U, I, self_loops=True))


def test_explicit_zeros_of_a_matrix_are_no_interactions():
    matrix = sp.coo_array(([1.0, 0.0, -2.0], ([0, 0, 1], [0, 1, 1])), shape=(2, 2))
    users, items = InteractionGraph.from_scipy(matrix).interactions()
    assert (users.tolist(), items.tolist()) == ([0, 1], [0, 1])


def test_the_graph_keeps_no_view_of_its_input(pairs):
    users, items = (ids.copy() for ids in pairs)
    graph = InteractionGraph.from_pairs(users, items, U, I)
    users[:], items[:] = 0, 0
    assert_same(graph, InteractionGraph.from_pairs(*pairs, U, I))


# --- What is refused --------------------------------------------------------------------------

NAN = float("nan")


@pytest.mark.parametrize(
    ("users", "items", "error", "message"),
    [
        ([0, 12], [0, 0], ValueError, r"users must be in \[0, 10\) \(got 12 at position 1\)"),
        ([0, 0], [-1, 0], ValueError, r"items must be in \[0, 5\) \(got -1 at position 0\)"),
        ([0], [5], ValueError, r"items must be in \[0, 5\) \(got 5 at position 0\)"),
        ([0, 1], [0], ValueError, r"users and items must have equal lengths \(got 2 and 1\)"),
        ([0, NAN], [0, 0], ValueError, r"users must be 64-bit integers \(got nan at position 1\)"),
        ([0], [1.5], ValueError, r"items must be 64-bit integers \(got 1.5 at position 0\)"),
        ([float("-inf")], [0], ValueError, r"users must be 64-bit integers \(got -inf at"),
        ([1e300], [0], ValueError, r"users must be 64-bit integers \(got 1e\+300 at position 0\)"),
        ([2**63], [0], ValueError, r"users must be 64-bit integers \(got 9223372036854775808 at"),
        ([2**70], [0], TypeError, r"users must be integers \(got object\)"),
        ([True], [0], TypeError, r"users must be integers \(got bool\)"),
        (torch.tensor([True]), [0], TypeError, r"users must be integers \(got bool\)"),
        (["a"], [0], TypeError, r"users must be integers \(got <U1\)"),
        ([0], [1j], TypeError, r"items must be integers \(got complex128\)"),
        (None, [0], ValueError, r"users must be one-dimensional \(got shape \(\)\)"),
        ([[0]], [0], ValueError, r"users must be one-dimensional \(got shape \(1, 1\)\)"),
        ([0], torch.zeros(1, 2), ValueError, r"items must be one-dimensional"),
        ([0, [1]], [0, 0], ValueError, r"users must be one array of numbers"),
    ],
)
def test_ids_that_are_none_are_refused_by_name_value_and_position(users, items, error, message):
    with pytest.raises(error, match=f"^InteractionGraph: {message}"):
        InteractionGraph.from_pairs(users, items, 10, 5)


@pytest.mark.parametrize(
    ("sizes", "error", "message"),
    [
        ((0, 5), ValueError, r"num_users must be positive \(got 0\)"),
        ((5, -1), ValueError, r"num_items must be positive \(got -1\)"),
        ((2**31 - 1, 1), ValueError, r"num_users \+ num_items must be below 2147483648"),
        ((2**70, 1), ValueError, r"num_users must fit in 64 bits"),
        ((1.0, 5), TypeError, r"num_users must be an integer \(got float\)"),
        ((5, True), TypeError, r"num_items must be an integer \(got bool\)"),
        ((None, 5), TypeError, r"num_users must be an integer \(got NoneType\)"),
    ],
)
def test_sizes_that_are_none_are_refused_by_name(sizes, error, message):
    with pytest.raises(error, match=f"^InteractionGraph: {message}"):
        InteractionGraph.from_pairs([], [], *sizes)


def test_sizes_may_be_any_integer_type():
    graph = InteractionGraph.from_pairs([0], [0], np.int8(3), torch.tensor(2))
    assert (graph.num_users, graph.num_items) == (3, 2)
    assert type(graph.num_users) is int


def test_matrices_that_are_no_interactions_are_refused():
    with pytest.raises(TypeError, match=r"matrix must be a scipy sparse matrix .* \(got ndarray\)"):
        InteractionGraph.from_scipy(np.eye(2))
    with pytest.raises(ValueError, match=r"matrix must not hold NaN \(got nan at position 1\)"):
        InteractionGraph.from_scipy(sp.coo_array(([1, NAN], ([0, 1], [0, 0]))))
    with pytest.raises(ValueError, match=r"matrix must be two-dimensional"):
        InteractionGraph.from_scipy(sp.coo_array(np.ones(3)))
    with pytest.raises(ValueError, match=r"num_items must be positive"):
        InteractionGraph.from_scipy(sp.coo_array((3, 0)))


# --- The object -------------------------------------------------------------------------------


@pytest.fixture
def weighted() -> WeightedGraph:
    rng = np.random.default_rng(3)
    matrix = sp.random_array((40, 25), density=0.2, format="csr", rng=rng, dtype=np.float64)
    return WeightedGraph.from_scipy(matrix)


def test_graphs_cannot_be_changed_or_made_by_hand(pairs, weighted):
    graph = InteractionGraph.from_pairs(*pairs, U, I)
    for checked in (graph, weighted):
        with pytest.raises(AttributeError, match="offsets must not be changed"):
            checked.offsets = torch.zeros(3)
        with pytest.raises(AttributeError, match="columns must not be deleted"):
            del checked.columns
        with pytest.raises(TypeError, match="must be built with one of its from_... methods"):
            type(checked)(1, 2)


def test_graphs_survive_copy_and_pickle(pairs, weighted):
    for graph in (InteractionGraph.from_pairs(*pairs, U, I), weighted):
        assert_same(copy.deepcopy(graph), graph)
        assert_same(pickle.loads(pickle.dumps(graph)), graph)


def test_to_moves_every_tensor_and_only_if_needed(pairs, weighted):
    for graph in (InteractionGraph.from_pairs(*pairs, U, I), weighted):
        assert graph.to("cpu") is graph
        moved = graph.to("meta")
        assert moved.device.type == "meta"
        assert {t.device.type for t in tensors_of(moved).values()} == {"meta"}
        assert graph.device.type == "cpu"


def test_reprs_tell_the_sizes(pairs, weighted):
    graph = InteractionGraph.from_pairs([0, 0], [0, 1], 3, 2, self_loops=True)
    assert repr(graph) == (
        "InteractionGraph(num_users=3, num_items=2, num_interactions=2, self_loops=True, "
        "device='cpu')"
    )
    assert repr(weighted) == (
        "WeightedGraph(num_rows=40, num_columns=25, num_entries=200, dtype=torch.float64, "
        "device='cpu')"
    )


def test_compiled_functions_may_read_a_graph_without_a_break(pairs):
    graph = InteractionGraph.from_pairs(*pairs, U, I)

    @torch.compile(backend="eager", fullgraph=True)
    def degree_sum(x: torch.Tensor) -> torch.Tensor:
        return x * graph.degrees.sum() + graph.num_interactions + graph.user_items[0].sum()

    x = torch.ones(2)
    expected = x * graph.degrees.sum() + graph.num_interactions + graph.user_items[0].sum()
    assert torch.equal(degree_sum(x), expected)


# --- The partition ----------------------------------------------------------------------------


def test_a_hub_is_cut_alone_and_leaves_are_grouped():
    leaves = 100_000
    graph = InteractionGraph.from_pairs(np.zeros(leaves), np.arange(leaves), 1, leaves)
    hub = [[0, p] for p in range(0, leaves, 4096)]
    runs = [[1 + row, leaves + row] for row in range(0, leaves, 2048)]
    assert graph.partition.tolist() == [*hub, *runs, [1 + leaves, 2 * leaves]]


def test_a_small_graph_is_one_part(pairs):
    graph = InteractionGraph.from_pairs(*pairs, U, I)
    assert graph.partition.tolist() == [[0, 0], [N, len(graph.columns)]]


def test_a_graph_of_long_rows_has_chunks_only():
    width = 8193
    graph = WeightedGraph.from_csr(
        np.arange(3) * width, np.tile(np.arange(width), 2), np.zeros(2 * width), width
    )
    starts = [[row, row * width + p] for row in (0, 1) for p in (0, 4096, 8192)]
    assert graph.partition.tolist() == [*starts, [2, 2 * width]]


def test_empty_rows_at_the_ends_belong_to_runs():
    offsets = np.concatenate([np.zeros(5000), np.full(5000, 3)])
    graph = WeightedGraph.from_csr(offsets, [0, 1, 2], np.ones(3), 3)
    parts = graph.partition.tolist()
    assert parts[0] == [0, 0]
    assert parts[-1] == [9999, 3]
    assert [row for row, _ in parts] == [0, 4096, 8189, 9999]


# --- Files ------------------------------------------------------------------------------------


@pytest.mark.parametrize("self_loops", [False, True])
def test_a_saved_graph_loads_as_it_was(pairs, self_loops, tmp_path):
    graph = InteractionGraph.from_pairs(*pairs, U, I, self_loops=self_loops)
    path = tmp_path / "graph"
    path.write_text("old")
    graph.save(path)
    assert_same(InteractionGraph.load(path), graph)
    assert os.listdir(tmp_path) == ["graph"]


def test_a_failed_save_leaves_the_old_file(pairs, tmp_path, monkeypatch):
    path = tmp_path / "graph.npz"
    path.write_text("old")

    def fail(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(OSError, match="disk full"):
        InteractionGraph.from_pairs(*pairs, U, I).save(path)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["graph.npz"]


def good_fields() -> dict[str, object]:
    return {
        "format": 1,
        "num_users": 2,
        "num_items": 3,
        "self_loops": False,
        "offsets": np.array([0, 2, 3]),
        "items": np.array([0, 2, 1], np.int32),
    }


def save_fields(path: Path, changes: dict[str, object]) -> None:
    fields = {name: v for name, v in (good_fields() | changes).items() if v is not None}
    np.savez(path, **fields)


def test_the_documented_fields_make_a_graph(tmp_path):
    save_fields(tmp_path / "g.npz", {})
    expected = InteractionGraph.from_pairs([0, 0, 1], [0, 2, 1], 2, 3)
    assert_same(InteractionGraph.load(tmp_path / "g.npz"), expected)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"format": 2}, "format 2, not 1"),
        ({"format": None}, "format"),
        ({"items": None}, "items"),
        ({"num_users": 3}, r"num_users \+ 1 = 4"),
        ({"num_users": -1}, "num_users must be positive"),
        ({"num_users": 2**63}, "num_users must fit in 64 bits"),
        ({"num_items": 2}, r"columns must be in \[0, 2\) \(got 2 at position 1\)"),
        ({"num_items": [1, 2]}, "only"),
        ({"num_items": 2**31}, "must be below 2147483648"),
        ({"offsets": np.array([0, 2, 3], np.int32)}, "offsets must be an array of int64"),
        ({"offsets": np.array([0, 4, 3])}, "offsets must not decrease"),
        ({"offsets": np.array([0, 2, 4])}, "offsets must end at the number of columns"),
        ({"offsets": np.array([1, 2, 3])}, "offsets must start at 0"),
        ({"offsets": np.array([[0, 2, 3]])}, "offsets must be one-dimensional"),
        ({"items": np.array([0, 2, 1])}, "columns must be an array of int32"),
        ({"items": np.array([0, -2, 1], np.int32)}, "columns must be in"),
        ({"items": np.array([2, 0, 1], np.int32)}, "columns must increase inside every row"),
        ({"items": np.array([1, 1, 1], np.int32)}, "columns must increase inside every row"),
        ({"items": np.array([0, "x", 1], object)}, "allow_pickle"),
    ],
)
def test_a_file_that_cannot_be_a_graph_is_refused(changes, reason, tmp_path):
    path = tmp_path / "g.npz"
    save_fields(path, changes)
    with pytest.raises(ValueError, match=rf"^InteractionGraph: .*g\.npz must be .*{reason}"):
        InteractionGraph.load(path)


def test_a_file_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "g.npz"
    with pytest.raises(FileNotFoundError):
        InteractionGraph.load(path)
    for content in (b"", b"PK\x03\x04", b"no graph", pickle.dumps([1])):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="must be a graph written by save"):
            InteractionGraph.load(path)
    with path.open("wb") as file:
        np.save(file, np.arange(3))
    with pytest.raises(ValueError, match="must be a graph written by save"):
        InteractionGraph.load(path)


def test_a_damaged_file_is_refused_or_still_a_whole_graph(pairs, tmp_path):
    InteractionGraph.from_pairs(*pairs, U, I).save(tmp_path / "good")
    good = (tmp_path / "good").read_bytes()
    path = tmp_path / "bad"
    rng = np.random.default_rng(5)
    refused = 0
    for round_ in range(300):
        data = bytearray(good)
        if round_ % 3 == 0:
            del data[int(rng.integers(len(data))) :]
        for position in rng.integers(0, len(data), 3) if data else ():
            data[position] = rng.integers(256)
        path.write_bytes(data)
        try:
            graph = InteractionGraph.load(path)
        except ValueError:
            refused += 1
        else:
            users, items = graph.interactions()
            rebuilt = InteractionGraph.from_pairs(
                users, items, graph.num_users, graph.num_items, graph.self_loops
            )
            assert_same(rebuilt, graph)
    assert refused > 100


def test_a_header_that_promises_too_much_is_refused(tmp_path):
    path = tmp_path / "g.npz"
    save_fields(path, {"items": None})
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<i4", "fortran_order": False, "shape": (10**15,)}
    )
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("items.npy", header.getvalue())
    with pytest.raises(ValueError, match="must be a graph written by save"):
        InteractionGraph.load(path)


# --- The weighted graph -----------------------------------------------------------------------


def test_the_transpose_is_the_transpose(weighted):
    matrix = sp.csr_array(
        (weighted.values.numpy(), weighted.columns.numpy(), weighted.offsets.numpy()),
        shape=(weighted.num_rows, weighted.num_columns),
    )
    transposed = sp.csr_array(
        (
            weighted.values[weighted.transposed_positions].numpy(),
            weighted.transposed_columns.numpy(),
            weighted.transposed_offsets.numpy(),
        ),
        shape=(weighted.num_columns, weighted.num_rows),
    )
    np.testing.assert_array_equal(transposed.toarray(), matrix.toarray().T)
    assert weighted.columns.dtype == weighted.transposed_columns.dtype == torch.int32
    assert weighted.offsets.dtype == weighted.transposed_positions.dtype == torch.int64


def test_entries_keep_their_order_repetitions_and_zeros():
    graph = WeightedGraph.from_csr([0, 3, 4], [2, 0, 2, 1], [1.0, 0.0, 3.0, 4.0], 3)
    assert graph.columns.tolist() == [2, 0, 2, 1]
    assert graph.values.tolist() == [1.0, 0.0, 3.0, 4.0]
    assert graph.transposed_offsets.tolist() == [0, 1, 2, 4]
    assert graph.transposed_columns.tolist() == [0, 1, 0, 0]
    assert graph.transposed_positions.tolist() == [1, 3, 0, 2]


@pytest.mark.parametrize("shape", [(0, 0), (0, 4), (3, 0), (3, 4)])
def test_weighted_graphs_without_entries_are_whole(shape):
    rows, columns = shape
    graph = WeightedGraph.from_scipy(sp.csr_array(shape, dtype=np.float32))
    assert (graph.num_rows, graph.num_columns) == shape
    assert graph.partition.tolist() == [[0, 0], [rows, 0]]
    assert graph.transposed_partition.tolist() == [[0, 0], [columns, 0]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_keep_their_type_and_are_copied(dtype):
    values = torch.tensor([1.0, float("inf")], dtype=dtype, requires_grad=True)
    graph = WeightedGraph.from_csr(torch.tensor([0, 2]), torch.tensor([0, 1]), values, 2)
    with torch.no_grad():
        values.zero_()
    assert graph.values.dtype == dtype
    assert graph.values.tolist() == [1.0, float("inf")]
    assert not graph.values.requires_grad


@pytest.mark.parametrize(
    ("offsets", "columns", "values", "error", "message"),
    [
        ([], [], [], ValueError, "offsets must hold at least one number"),
        ([0, 2, 1], [0], [1.0], ValueError, r"offsets must not decrease \(got 1 after 2 at posi"),
        ([0, 2], [0], [1.0], ValueError, r"offsets must end at the number of columns, 1 \(got 2"),
        ([0, 1], [3], [1.0], ValueError, r"columns must be in \[0, 3\) \(got 3 at position 0\)"),
        ([0, 1.5], [0], [1.0], ValueError, r"offsets must be 64-bit integers \(got 1.5 at posit"),
        ([0, 1], [0], [NAN], ValueError, r"values must not hold NaN \(got nan at position 0\)"),
        ([0, 1], [0], [1.0, 2.0], ValueError, r"values must have the length of columns, 1"),
        ([0, 1], [0], [[1.0]], ValueError, r"values must have the length .* \(got shape \(1, 1\)"),
        ([0, 1], [0], [1], TypeError, r"values must be float32 or float64 \(got int64\)"),
        ([0, 1], [0], ["a"], TypeError, r"values must be float32 or float64 \(got <U1\)"),
        ([0, 1], [0], torch.ones(1).bfloat16(), TypeError, r"values must .* \(got torch.bfloat16"),
    ],
)
def test_rows_that_cannot_be_are_refused_by_name(offsets, columns, values, error, message):
    with pytest.raises(error, match=f"^WeightedGraph: {message}"):
        WeightedGraph.from_csr(offsets, columns, values, 3)


# --- k-core and split -------------------------------------------------------------------------


def test_k_core_is_the_fixed_point_of_removing_low_degrees(pairs):
    users, items = pairs
    kept = k_core(users, items, U, I, 9, 10)
    expected = np.ones(len(users), bool)
    while True:
        matrix = np.zeros((U, I), bool)
        matrix[users[expected], items[expected]] = True
        enough = (matrix.sum(1) >= 9)[users] & (matrix.sum(0) >= 10)[items] & expected
        if (enough == expected).all():
            break
        expected = enough
    assert kept.dtype == np.bool_
    assert 0 < kept.sum() < len(kept)
    np.testing.assert_array_equal(kept, expected)


def test_split_gives_each_user_near_its_share(pairs):
    users, items = pairs
    labels = split_per_user(users, items, U, I, seed=4)
    assert labels.dtype == np.int8
    for user in range(27):
        of = {i: label for u, i, label in zip(users, items, labels, strict=True) if u == user}
        counts = np.bincount(list(of.values()), minlength=3)
        assert (abs(counts - len(of) * np.array([0.6, 0.2, 0.2])) < 1.5).all()
        assert counts.min() >= 1 or len(of) < 3


def test_split_follows_the_seed_alone(pairs):
    users, items = pairs
    labels = split_per_user(users, items, U, I, seed=2**62)
    order = np.random.default_rng(2).permutation(len(users))
    again = split_per_user(users[order].tolist(), items[order].tolist(), U + 5, I + 5, seed=2**62)
    np.testing.assert_array_equal(again, labels[order])
    assert (split_per_user(users, items, U, I, seed=1) != labels).any()


def test_split_gives_nothing_to_a_ratio_of_0(pairs):
    assert set(split_per_user(*pairs, U, I, ratios=(4, 0, 1), seed=0).tolist()) == {0, 2}


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"seed": -1}, ValueError, r"seed must not be negative \(got -1\)"),
        ({"seed": 2**63}, ValueError, r"seed must fit in 64 bits"),
        ({"seed": 0.5}, TypeError, r"seed must be an integer \(got float\)"),
        ({"seed": 0, "ratios": (1, 2)}, TypeError, r"ratios must be three numbers"),
        ({"seed": 0, "ratios": "abc"}, TypeError, r"ratios must be three numbers"),
        ({"seed": 0, "ratios": (1, NAN, 1)}, ValueError, r"ratios must not be negative or NaN"),
        ({"seed": 0, "ratios": (0, 0, 0)}, ValueError, r"ratios must have a positive finite sum"),
    ],
)
def test_bad_splits_are_refused_by_name(arguments, error, message):
    with pytest.raises(error, match=f"^split_per_user: {message}"):
        split_per_user([0], [0], 1, 1, **arguments)


def test_k_core_and_split_name_themselves_when_they_refuse_ids():
    with pytest.raises(ValueError, match=r"^k_core: users must be in \[0, 1\) \(got 3 at"):
        k_core([3], [0], 1, 1, 1, 1)
    with pytest.raises(ValueError, match=r"^k_core: user_min must not be negative"):
        k_core([0], [0], 1, 1, -1, 1)
    with pytest.raises(ValueError, match=r"^split_per_user: items must be 64-bit integers"):
        split_per_user([0], [NAN], 1, 1, seed=0)


# --- Real data --------------------------------------------------------------------------------


@pytest.mark.realdata
def test_published_amazon_numbers_come_out():
    folder = Path(os.environ.get("RLMREC_DATA", ""), "amazon")
    if not (folder / "trn_mat.pkl").is_file():
        pytest.skip("RLMREC_DATA does not hold amazon/")
    with (folder / "trn_mat.pkl").open("rb") as file:
        matrix = pickle.load(file)
    graph = InteractionGraph.from_scipy(matrix)
    assert (graph.num_users, graph.num_items, graph.num_interactions) == (11_000, 9_332, 120_464)
    assert (graph.degrees[:11_000].max(), graph.degrees[11_000:].max()) == (253, 246)
