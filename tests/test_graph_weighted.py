"""WeightedGraph."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from graph_checks import NAN

from rlmrec_fast.graph import WeightedGraph


@pytest.fixture
def weighted() -> WeightedGraph:
    rng = np.random.default_rng(3)
    matrix = sp.random_array((40, 25), density=0.2, format="csr", rng=rng, dtype=np.float64)
    return WeightedGraph.from_scipy(matrix)


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
