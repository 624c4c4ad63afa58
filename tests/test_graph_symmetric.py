"""SymmetricGraph."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from graph_checks import assert_same, tensors_of

from rlmrec_fast import SymmetricGraph, _native
from rlmrec_fast.graph import InteractionGraph


def random_rows(nodes: int, density: float, seed: int) -> sp.csr_array:
    half = sp.random_array((nodes, nodes), density=density, rng=np.random.default_rng(seed))
    both = sp.csr_array(half + half.T)
    both.sort_indices()
    return both


@pytest.mark.parametrize("nodes", [1, 2, 50, 300])
def test_rows_are_taken_as_they_are(nodes):
    rows = random_rows(nodes, 0.1, nodes)
    graph = SymmetricGraph.from_csr(rows.indptr, rows.indices)
    assert graph.num_nodes == nodes
    assert {name: t.dtype for name, t in tensors_of(graph).items()} == {
        "offsets": torch.int64,
        "columns": torch.int32,
        "partition": torch.int64,
    }
    assert graph.offsets.tolist() == rows.indptr.tolist()
    assert graph.columns.tolist() == rows.indices.tolist()
    wanted = _native.partition_rows(rows.indptr.astype(np.int64))
    assert graph.partition.tolist() == wanted.tolist()
    assert repr(graph) == (
        f"SymmetricGraph(num_nodes={nodes}, num_entries={rows.nnz}, device='cpu')"
    )


@pytest.mark.parametrize("self_loops", [False, True])
def test_an_interaction_graph_is_symmetric(self_loops):
    rng = np.random.default_rng(1)
    users, items = rng.integers(0, 30, 200), rng.integers(0, 20, 200)
    graph = InteractionGraph.from_pairs(users, items, 30, 20, self_loops=self_loops)
    same = SymmetricGraph.from_csr(graph.offsets, graph.columns)
    for name in ("num_nodes", "offsets", "columns", "partition"):
        assert torch.equal(
            torch.as_tensor(getattr(same, name)), torch.as_tensor(getattr(graph, name))
        )


@pytest.mark.parametrize("nodes", [0, 3])
def test_graphs_without_edges_are_whole(nodes):
    graph = SymmetricGraph.from_csr([0] * (nodes + 1), [])
    assert graph.num_nodes == nodes
    assert graph.partition.tolist() == [[0, 0], [nodes, 0]]


def test_arguments_are_copied():
    columns = torch.tensor([1, 0], dtype=torch.int32)
    offsets = torch.tensor([0, 1, 2])
    graph = SymmetricGraph.from_csr(offsets, columns)
    columns.zero_()
    offsets.zero_()
    assert_same(graph, SymmetricGraph.from_csr([0, 1, 2], [1.0, 0.0]))


def test_it_moves_and_does_not_change():
    graph = SymmetricGraph.from_csr([0, 1], [0])
    assert graph.to("cpu") is graph
    assert graph.to("meta").columns.device.type == "meta"
    with pytest.raises(AttributeError, match=r"^SymmetricGraph: columns must not be changed"):
        graph.columns = torch.zeros(1)
    with pytest.raises(TypeError, match=r"^SymmetricGraph: must be built with"):
        SymmetricGraph()


@pytest.mark.parametrize(
    ("offsets", "columns", "error", "message"),
    [
        ([], [], ValueError, "offsets must hold at least one number"),
        ([1, 1], [0], ValueError, r"offsets must start at 0 \(got 1\)"),
        ([0, 2, 1], [0], ValueError, r"offsets must not decrease \(got 1 after 2 at position 2\)"),
        ([0, 2], [0], ValueError, r"offsets must end at the number of columns, 1 \(got 2\)"),
        ([0, 1], [1], ValueError, r"columns must be in \[0, 1\) \(got 1 at position 0\)"),
        ([0, 1, 2], [1, -1], ValueError, r"columns must be in \[0, 2\) \(got -1 at position 1\)"),
        ([0, 2, 3], [1, 0, 0], ValueError, r"columns must increase inside every row \(got 0 after"),
        ([0, 2, 3], [1, 1, 0], ValueError, r"columns must increase inside every row \(got 1 after"),
        ([0, 1, 1], [1], ValueError, r"columns must hold \(c, r\) for .* \(got only \(0, 1\)\)"),
        ([0, 0, 1], [0], ValueError, r"columns must hold \(c, r\) for .* \(got only \(1, 0\)\)"),
        ([0, 1, 2, 3], [1, 2, 0], ValueError, r"columns must hold .* \(got only \(0, 1\)\)"),
        ([0, 1, 2, 3], [2, 0, 0], ValueError, r"columns must hold .* \(got only \(1, 0\)\)"),
        ([0, 0, 2, 3], [0, 2, 1], ValueError, r"columns must hold .* \(got only \(1, 0\)\)"),
        ([0, 0.5], [], ValueError, r"offsets must be 64-bit integers \(got 0.5 at position 1\)"),
        ([0, 1], [[0]], ValueError, r"columns must be one-dimensional"),
        ([0, 1], ["a"], TypeError, "columns must be integers"),
        ([False, True], [0], TypeError, "offsets must be integers"),
    ],
)
def test_rows_that_cannot_be_are_refused_by_name(offsets, columns, error, message):
    with pytest.raises(error, match=f"^SymmetricGraph: {message}"):
        SymmetricGraph.from_csr(offsets, columns)


def test_every_lone_edge_is_found():
    rows = random_rows(12, 0.2, 3)
    entries = rows.tocoo()
    lone = 0
    for drop in range(rows.nnz):
        row, column = int(entries.row[drop]), int(entries.col[drop])
        if row == column:
            continue
        kept = np.arange(rows.nnz) != drop
        offsets = np.concatenate([[0], np.bincount(entries.row[kept], minlength=12).cumsum()])
        with pytest.raises(ValueError, match=rf"\(got only \({column}, {row}\)\)"):
            SymmetricGraph.from_csr(offsets, entries.col[kept])
        lone += 1
    assert lone > 10
