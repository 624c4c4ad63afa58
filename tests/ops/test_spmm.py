from __future__ import annotations

import numpy as np
import pytest
import torch
from graphs import make_weighted_graph
from helpers import assert_error_budget, same_bits
from torch import Tensor

from rlmrec_fast.graph import WeightedGraph
from rlmrec_fast.ops import reference, spmm

STORAGE = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
WIDTHS = (1, 3, 8, 16, 31, 32, 33, 64, 100, 128, 150)


def wide(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def magnitudes(x: Tensor, graph: WeightedGraph) -> Tensor:
    return reference.spmm(x.abs().double(), graph, graph.values.abs().double())


@pytest.mark.parametrize("dtype", STORAGE)
@pytest.mark.parametrize("d", WIDTHS)
def test_values_stay_in_the_error_budget_of_the_reference(d, dtype):
    graph = make_weighted_graph()
    x = torch.randn(graph.num_columns, d).to(dtype)
    info = torch.finfo(dtype)
    tolerance = 2 * info.eps * magnitudes(x, graph) + info.tiny
    ours = spmm(x, graph)
    assert_error_budget(
        ours, reference.spmm(x, graph), reference.spmm(x.double(), graph), tolerance
    )
    assert same_bits(ours, spmm(x, graph, graph.values.to(wide(dtype))))


@pytest.mark.parametrize("hub", [4000, 8200, 30_000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_long_rows_and_columns_stay_in_the_error_budget(dtype, hub):
    graph = make_weighted_graph(hub=hub)
    x = torch.randn(graph.num_columns, 5, dtype=dtype)
    values = graph.values.to(dtype)
    upstream = torch.randn(graph.num_rows, 5, dtype=dtype)
    eps = torch.finfo(dtype).eps
    results = []
    for operator, wide_dtype in (
        (spmm, dtype),
        (reference.spmm, dtype),
        (reference.spmm, torch.float64),
    ):
        inputs = [t.to(wide_dtype).requires_grad_() for t in (x, values)]
        y = operator(inputs[0], graph, inputs[1])
        results.append([y, *torch.autograd.grad(y, inputs, upstream.to(wide_dtype))])
    for ours, twin, truth in zip(*results, strict=True):
        steps = hub if dtype == torch.float64 else 50
        assert_error_budget(ours, twin, truth, steps * eps * float(truth.detach().abs().max()))


def test_the_product_is_that_of_scipy():
    graph = make_weighted_graph()
    scipy_sparse = pytest.importorskip("scipy.sparse")
    matrix = scipy_sparse.csr_array(
        (graph.values.numpy(), graph.columns.numpy(), graph.offsets.numpy()), shape=(30, 20)
    )
    x = torch.randn(20, 4, dtype=torch.float64)
    torch.testing.assert_close(spmm(x, graph), torch.from_numpy(matrix @ x.numpy()))


@pytest.mark.parametrize("dtype", STORAGE)
@pytest.mark.parametrize("d", [1, 7, 8, 33, 150])
def test_gradients_stay_in_the_error_budget_of_autograd(d, dtype):
    graph = make_weighted_graph()
    x = torch.randn(graph.num_columns, d).to(dtype)
    values = graph.values.to(wide(dtype))
    upstream = torch.randn(graph.num_rows, d).to(dtype)
    ours, twin, truth, scale = (
        torch.autograd.grad(operator(*inputs), inputs[::2], grad)
        for operator, inputs, grad in (
            (spmm, with_gradients(x, graph, values), upstream),
            (reference.spmm, with_gradients(x, graph, values), upstream),
            (
                reference.spmm,
                with_gradients(x.double(), graph, values.double()),
                upstream.double(),
            ),
            (
                reference.spmm,
                with_gradients(x.double().abs(), graph, values.double().abs()),
                upstream.double().abs(),
            ),
        )
    )
    for i, epsilon in ((0, torch.finfo(dtype).eps), (1, d**0.5 * torch.finfo(wide(dtype)).eps)):
        tolerance = 2 * epsilon * scale[i] + torch.finfo(dtype).tiny
        assert_error_budget(ours[i], twin[i], truth[i], tolerance)


def with_gradients(x: Tensor, graph: WeightedGraph, values: Tensor) -> tuple:
    return x.detach().requires_grad_(), graph, values.detach().requires_grad_()


def test_derivatives_are_those_of_finite_differences():
    graph = make_weighted_graph(8, 5)
    x = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    values = torch.randn(len(graph.values), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, v: spmm(x, graph, v), (x, values))
    assert torch.autograd.gradgradcheck(lambda x: spmm(x, graph), x)
    assert torch.autograd.gradgradcheck(lambda x: spmm(x, graph) ** 2, x)


def test_differentiating_twice_through_the_values_is_refused_rather_than_wrong():
    graph = make_weighted_graph(8, 5)
    x = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    values = torch.randn(len(graph.values), dtype=torch.float64, requires_grad=True)
    y = spmm(x, graph, values)
    (grad,) = torch.autograd.grad(y.square().sum(), values, create_graph=True)
    with pytest.raises(RuntimeError, match=r"^spmm: must be differentiated once"):
        torch.autograd.grad(grad.square().sum(), [x, values])


@pytest.mark.parametrize("asked", [(True, False), (False, True), (False, False)])
def test_only_the_gradients_asked_for_are_computed(asked, monkeypatch):
    graph = make_weighted_graph()
    inputs = [torch.randn(20, 4), graph.values.float()]
    for tensor, wanted in zip(inputs, asked, strict=True):
        tensor.requires_grad_(wanted)
    y = spmm(inputs[0], graph, inputs[1])
    assert y.requires_grad == any(asked)
    calls = []

    class Recorder(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            calls.append(str(function))
            return function(*args, **(kwargs or {}))

    if any(asked):
        with Recorder():
            y.backward(torch.ones_like(y))
    assert [tensor.grad is not None for tensor in inputs] == list(asked)
    assert ("rlmrec_fast.spmm_backward_values.default" in calls) == asked[1]
    assert ("rlmrec_fast.spmm.default" in calls) == asked[0]


def test_strides_do_not_matter():
    graph = make_weighted_graph()
    table = torch.randn(40, 21)
    values = torch.randn(len(graph.values), 2)[:, 1]
    for x in (table[::2, 1:], table[:20, ::2], torch.randn(6, 20).T, table[:1].expand(20, 21)):
        assert same_bits(spmm(x, graph, values), spmm(x.contiguous(), graph, values.contiguous()))
    inputs = with_gradients(table[:20], graph, values)
    y = spmm(*inputs)
    strided = torch.randn(21, 30).T
    for grad in (torch.ones(()).expand(30, 21), torch.randn(30, 1).expand(30, 21), strided):
        ours = torch.autograd.grad(y, inputs[::2], grad, retain_graph=True)
        expected = torch.autograd.grad(y, inputs[::2], grad.contiguous(), retain_graph=True)
        assert all(same_bits(a, b) for a, b in zip(ours, expected, strict=True))


@pytest.mark.parametrize(
    ("rows", "columns", "d"), [(0, 3, 4), (3, 0, 4), (3, 4, 0), (0, 0, 2), (3, 4, 2)]
)
def test_matrices_without_entries_give_zeros(rows, columns, d):
    graph = WeightedGraph.from_csr(np.zeros(rows + 1), [], np.zeros(0), columns)
    x = torch.randn(columns, d, requires_grad=True)
    values = torch.zeros(0, requires_grad=True)
    y = spmm(x, graph, values)
    assert torch.equal(y, torch.zeros(rows, d))
    y.sum().backward()
    assert torch.equal(x.grad, torch.zeros(columns, d))
    assert values.grad.shape == (0,)


def test_infinite_weights_pass():
    graph = WeightedGraph.from_csr([0, 2, 3], [0, 1, 1], np.array([np.inf, 1.0, 2.0]), 2)
    y = spmm(torch.ones(2, 3), graph)
    assert torch.equal(y, torch.tensor([[torch.inf] * 3, [2.0] * 3]))
