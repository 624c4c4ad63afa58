"""InteractionGraph: what it holds, what it is built from, what it refuses; its partition."""

from __future__ import annotations

import copy
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from graph_checks import NAN, NUM_USERS, SIZES, assert_same, make_pairs, tensors_of

from rlmrec_fast.data.unpickle import load_pickle
from rlmrec_fast.graph import InteractionGraph, WeightedGraph

N = sum(SIZES)


@pytest.fixture
def pairs() -> tuple[np.ndarray, np.ndarray]:
    return make_pairs()


def dense_adjacency(users: np.ndarray, items: np.ndarray, self_loops: bool) -> np.ndarray:
    adjacency = np.eye(N, dtype=bool) & self_loops
    adjacency[users, NUM_USERS + items] = True
    adjacency[NUM_USERS + items, users] = True
    return adjacency


# --- What the graph holds -------------------------------------------------------------------------


@pytest.mark.parametrize("self_loops", [False, True])
def test_rows_are_those_of_the_dense_adjacency(pairs, self_loops):
    graph = InteractionGraph.from_pairs(*pairs, *SIZES, self_loops=self_loops)
    expected = sp.csr_array(dense_adjacency(*pairs, self_loops))
    np.testing.assert_array_equal(graph.offsets, expected.indptr)
    np.testing.assert_array_equal(graph.columns, expected.indices)
    np.testing.assert_array_equal(graph.degrees, np.diff(expected.indptr))


@pytest.mark.parametrize("self_loops", [False, True])
def test_reverse_is_the_position_of_the_opposite_edge(pairs, self_loops):
    graph = InteractionGraph.from_pairs(*pairs, *SIZES, self_loops=self_loops)
    rows = torch.repeat_interleave(torch.arange(N), graph.degrees)
    assert torch.equal(rows[graph.reverse], graph.columns.long())
    assert torch.equal(graph.columns[graph.reverse].long(), rows)
    assert torch.equal(graph.reverse[graph.reverse], torch.arange(len(rows)))
    loops = (rows == graph.columns).nonzero().squeeze(1)
    assert len(loops) == (N if self_loops else 0)
    assert torch.equal(graph.reverse[loops], loops)


def test_types_and_sizes_are_those_promised(pairs):
    graph = InteractionGraph.from_pairs(*pairs, *SIZES)
    distinct = len(set(zip(*map(np.ndarray.tolist, pairs), strict=True)))
    assert (graph.num_users, graph.num_items, graph.num_nodes) == (*SIZES, N)
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
    graph = InteractionGraph.from_pairs(*pairs, *SIZES)
    expected = [0.0 if d == 0 else 1.0 / float(np.sqrt(d)) for d in graph.degrees.tolist()]
    assert 0.0 in expected
    assert graph.inv_sqrt_degrees.tolist() == expected


@pytest.mark.parametrize("self_loops", [False, True])
def test_interactions_and_both_directions_agree(pairs, self_loops):
    graph = InteractionGraph.from_pairs(*pairs, *SIZES, self_loops=self_loops)
    users, items = graph.interactions()
    expected = sorted(set(zip(*map(np.ndarray.tolist, pairs), strict=True)))
    assert users.dtype == items.dtype == torch.int64
    assert list(zip(users.tolist(), items.tolist(), strict=True)) == expected
    matrix = sp.csr_array((np.ones(len(expected)), (users, items)), shape=SIZES)
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
    graph = InteractionGraph.from_pairs(users[order], items[order], *SIZES)
    assert_same(graph, InteractionGraph.from_pairs(users, items, *SIZES))


# --- What can be built from -----------------------------------------------------------------------


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
    ids=lambda convert: getattr(convert, "__name__", ""),
)
def test_ids_of_any_kind_of_whole_number_give_the_same_graph(pairs, convert):
    graph = InteractionGraph.from_pairs(*map(convert, pairs), *SIZES)
    assert_same(graph, InteractionGraph.from_pairs(*pairs, *SIZES))


@pytest.mark.parametrize("form", ["coo", "csr", "csc", "lil", "dok", "bsr"])
@pytest.mark.parametrize("container", [sp.coo_array, sp.coo_matrix])
def test_any_scipy_format_gives_the_same_graph(pairs, form, container):
    expected = InteractionGraph.from_pairs(*pairs, *SIZES)
    matrix = container((np.full(len(pairs[0]), 0.5), pairs), shape=SIZES).asformat(form)
    assert_same(InteractionGraph.from_scipy(matrix), expected)
    looped = InteractionGraph.from_scipy(matrix, self_loops=True)
    assert_same(looped, InteractionGraph.from_pairs(*pairs, *SIZES, self_loops=True))


def test_explicit_zeros_of_a_matrix_are_no_interactions():
    matrix = sp.coo_array(([1.0, 0.0, -2.0], ([0, 0, 1], [0, 1, 1])), shape=(2, 2))
    users, items = InteractionGraph.from_scipy(matrix).interactions()
    assert (users.tolist(), items.tolist()) == ([0, 1], [0, 1])


def test_the_graph_keeps_no_view_of_its_input(pairs):
    users, items = (ids.copy() for ids in pairs)
    graph = InteractionGraph.from_pairs(users, items, *SIZES)
    users[:], items[:] = 0, 0
    assert_same(graph, InteractionGraph.from_pairs(*pairs, *SIZES))


# --- What is refused ------------------------------------------------------------------------------


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


# --- The object -----------------------------------------------------------------------------------


@pytest.fixture
def weighted() -> WeightedGraph:
    rng = np.random.default_rng(3)
    matrix = sp.random_array((40, 25), density=0.2, format="csr", rng=rng, dtype=np.float64)
    return WeightedGraph.from_scipy(matrix)


def test_graphs_cannot_be_changed_or_made_by_hand(pairs, weighted):
    graph = InteractionGraph.from_pairs(*pairs, *SIZES)
    for checked in (graph, weighted):
        with pytest.raises(AttributeError, match="offsets must not be changed"):
            checked.offsets = torch.zeros(3)
        with pytest.raises(AttributeError, match="columns must not be deleted"):
            del checked.columns
        with pytest.raises(TypeError, match=r"must be built with one of its from_\.\.\. methods"):
            type(checked)(1, 2)


def test_graphs_survive_copy_and_pickle(pairs, weighted):
    for graph in (InteractionGraph.from_pairs(*pairs, *SIZES), weighted):
        assert_same(copy.deepcopy(graph), graph)
        assert_same(pickle.loads(pickle.dumps(graph)), graph)


def test_to_moves_every_tensor_and_only_if_needed(pairs, weighted):
    for graph in (InteractionGraph.from_pairs(*pairs, *SIZES), weighted):
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
    graph = InteractionGraph.from_pairs(*pairs, *SIZES)

    @torch.compile(backend="eager", fullgraph=True)
    def degree_sum(x: torch.Tensor) -> torch.Tensor:
        return x * graph.degrees.sum() + graph.num_interactions + graph.user_items[0].sum()

    x = torch.ones(2)
    expected = x * graph.degrees.sum() + graph.num_interactions + graph.user_items[0].sum()
    assert torch.equal(degree_sum(x), expected)


# --- The partition --------------------------------------------------------------------------------


def test_a_hub_is_cut_alone_and_leaves_are_grouped():
    leaves = 100_000
    graph = InteractionGraph.from_pairs(np.zeros(leaves), np.arange(leaves), 1, leaves)
    hub = [[0, p] for p in range(0, leaves, 4096)]
    runs = [[1 + row, leaves + row] for row in range(0, leaves, 2048)]
    assert graph.partition.tolist() == [*hub, *runs, [1 + leaves, 2 * leaves]]


def test_a_small_graph_is_one_part(pairs):
    graph = InteractionGraph.from_pairs(*pairs, *SIZES)
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


# --- Real data ------------------------------------------------------------------------------------


@pytest.mark.realdata
def test_published_amazon_numbers_come_out():
    folder = Path(os.environ.get("RLMREC_DATA", ""), "amazon")
    if not (folder / "trn_mat.pkl").is_file():
        pytest.skip("RLMREC_DATA does not hold amazon/")
    matrix = load_pickle(folder / "trn_mat.pkl")
    graph = InteractionGraph.from_scipy(matrix)
    assert (graph.num_users, graph.num_items, graph.num_interactions) == (11_000, 9_332, 120_464)
    assert (graph.degrees[:11_000].max(), graph.degrees[11_000:].max()) == (253, 246)
