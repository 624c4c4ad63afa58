from __future__ import annotations

import importlib

import pytest
import torch
from helpers import assert_error_budget, epsilon, same_bits
from test_compile import assert_compiles
from torch import Tensor

from rlmrec_fast.ops import project, reference

N, T, H, D = 23, 11, 7, 5


def layers(dtype: torch.dtype = torch.float32, t: int = T, h: int = H, d: int = D) -> list[Tensor]:
    shapes = ((h, t), (h,), (d, h), (d,))
    return [torch.randn(shape, dtype=dtype).requires_grad_() for shape in shapes]


def value_and_gradients(operator, vectors, weights, **options) -> list[Tensor]:
    result = operator(vectors, *weights, **options)
    upstream = torch.linspace(-1, 2, result.numel()).view(result.shape).to(result.dtype)
    inputs = [x for x in (vectors, *weights) if x.requires_grad]
    return [result, *torch.autograd.grad(result, inputs, upstream)]


@pytest.mark.parametrize("rows", [None, [3, 3, 22, 0], []])
@pytest.mark.parametrize("storage", [torch.float16, torch.float32, torch.float64])
def test_values_and_gradients_stay_in_the_error_budget_of_the_reference(storage, rows):
    vectors, weights = torch.randn(N, T).to(storage), layers()
    rows = None if rows is None else torch.tensor(rows, dtype=torch.int64)
    exact = [x.detach().double().requires_grad_() for x in weights]
    ours, twin, truth = (
        value_and_gradients(operator, vectors, args, rows=rows)
        for operator, args in (
            (project, weights),
            (reference.project, weights),
            (reference.project, exact),
        )
    )
    for a, b, c in zip(ours, twin, truth, strict=True):
        scale = float(c.detach().abs().max()) if c.numel() else 0.0
        assert_error_budget(a, b, c, 100 * epsilon(torch.float32) * (scale + 1))


def test_the_gradient_reaches_the_vectors_too():
    vectors = torch.randn(N, T, dtype=torch.float64, requires_grad=True)
    weights, rows = layers(torch.float64), torch.tensor([4, 1, 4])
    assert torch.autograd.gradcheck(lambda *args: project(*args, rows), (vectors, *weights))
    (grad, *_) = value_and_gradients(project, vectors, weights, rows=rows)[1:]
    assert grad[[1, 4]].abs().sum(1).min() > 0
    assert grad.abs().sum(1).count_nonzero() == 2


def test_a_worked_example():
    vectors = torch.tensor([[9.0, 9.0], [1.0, 2.0]])
    weight1, bias1 = torch.tensor([[1.0, 0.0], [0.0, -1.0]]), torch.tensor([1.0, 1.0])
    weight2, bias2 = torch.tensor([[1.0, 10.0]]), torch.tensor([0.5])
    # hidden = leaky(2, -1) = (2, -0.5) at slope 0.5; 2 - 5 + 0.5 = -2.5
    args = (vectors, weight1, bias1, weight2, bias2, torch.tensor([1]))
    assert project(*args, slope=0.5).tolist() == [[-2.5]]


def test_rows_are_those_of_the_whole_table():
    vectors, weights = torch.randn(N, T), layers()
    rows = torch.tensor([5, 0, 5, 22], dtype=torch.int32)
    torch.testing.assert_close(project(vectors, *weights, rows), project(vectors, *weights)[rows])


def test_16_bits_round_what_is_stored_and_not_the_result():
    vectors, weights = torch.randn(N, T), layers()
    exact = project(vectors, *weights)
    rough = project(vectors, *weights, dtype=torch.bfloat16)
    assert rough.dtype == torch.float32
    error = (rough - exact).abs().max() / exact.abs().max()
    assert 1e-5 < error < 3e-2
    stored = project(vectors.bfloat16(), *weights, dtype=torch.bfloat16)
    assert same_bits(stored, rough), "storing vectors in 16 bits beforehand must change nothing"
    for grad, weight in zip(
        value_and_gradients(project, vectors, weights, dtype=torch.bfloat16)[1:],
        weights,
        strict=True,
    ):
        assert grad.dtype == weight.dtype


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_processors_without_16_bit_products_find_the_same_but_for_rounding(dtype, monkeypatch):
    module = importlib.import_module("rlmrec_fast.ops.project")
    vectors, weights = torch.randn(N, T, requires_grad=True), layers()
    results = []
    for multiplied in (set(), {dtype}):
        monkeypatch.setattr(module, "_MULTIPLIED", multiplied)
        results.append(value_and_gradients(project, vectors, weights, dtype=dtype))
    for ours, other in zip(*results, strict=True):
        assert ours.dtype == other.dtype
        assert (ours - other).abs().max() <= 8 * torch.finfo(dtype).eps * other.abs().max()


def test_autocast_does_not_change_the_type_of_the_products():
    vectors, weights = torch.randn(N, T), layers()
    expected = project(vectors, *weights)
    with torch.autocast("cpu", torch.bfloat16):
        assert same_bits(project(vectors, *weights), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("sizes", [(3000, 96, 64, 32), (551, 146, 109, 9), (736, 200, 20, 20)])
def test_the_number_of_threads_changes_no_bit(sizes, dtype):
    n, t, h, d = sizes
    weights = layers(torch.float64 if dtype == torch.float64 else torch.float32, t=t, h=h, d=d)
    vectors = torch.randn(n, t, dtype=weights[0].dtype, requires_grad=True)
    results = []
    for threads in (1, 2, 3, 4, 7):
        torch.set_num_threads(threads)
        results.append(value_and_gradients(project, vectors, weights, dtype=dtype))
    for others in results[1:]:
        assert all(map(same_bits, results[0], others))


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_it_compiles(backend):
    torch.compiler.reset()
    rows = torch.tensor([3, 1, 3])

    def work(vectors, weight1, bias1, weight2, bias2, rows):
        return project(vectors * 2, weight1, bias1, weight2, bias2, rows).sin()

    vectors = torch.randn(N, T, requires_grad=True)
    assert_compiles(work, vectors, *layers(), rows, backend=backend)


def changed(index: int, value: object) -> list:
    arguments = [torch.ones(N, T), *(x.detach() for x in layers()), None]
    arguments[index] = value
    return arguments


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (changed(0, torch.ones(N)), {}, r"vectors must have two dimensions \(got \(23,\)\)"),
        (changed(0, torch.ones(N, 3)), {}, r"weight1 must have 3 columns \(got 11\)"),
        (changed(2, torch.ones(6)), {}, r"bias1 must have shape \(7,\) \(got \(6,\)\)"),
        (changed(3, torch.ones(D, 6)), {}, r"weight2 must have 7 columns \(got 6\)"),
        (changed(4, torch.ones(D, 1)), {}, r"bias2 must have shape \(5,\) \(got \(5, 1\)\)"),
        (changed(5, torch.tensor([0, 23])), {}, r"rows must be in \[0, 23\) \(got 23 at"),
        (changed(5, torch.tensor([0, -1])), {}, r"rows must be in \[0, 23\) \(got -1 at"),
        (changed(5, torch.ones(1, 1).long()), {}, "rows must have one dimension"),
        (changed(5, None), {"slope": -0.1}, r"slope must be >= 0 \(got -0.1\)"),
        (changed(5, None), {"slope": float("nan")}, r"slope must be >= 0 \(got nan\)"),
    ],
)
def test_wrong_values_are_refused_by_name(arguments, options, message):
    with pytest.raises(ValueError, match=f"^project: {message}"):
        project(*arguments, **options)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (changed(0, torch.ones(N, T).long()), {}, "vectors must be of type float32"),
        (changed(1, torch.ones(H, T).half()), {}, "weight1 must be of type float32, float64"),
        (changed(2, torch.ones(H).double()), {}, "bias1 must be a tensor of type torch.float32"),
        (changed(3, torch.ones(D, H).double()), {}, "weight2 must be of type float32"),
        (changed(4, [1.0] * D), {}, "bias2 must be a tensor of type torch.float32.*got list"),
        (changed(5, torch.ones(2)), {}, "rows must be of type int64 or int32"),
        (changed(5, None), {"dtype": torch.int8}, "dtype must be None or a float type"),
    ],
)
def test_wrong_types_are_refused_by_name(arguments, options, message):
    with pytest.raises(TypeError, match=f"^project: {message}"):
        project(*arguments, **options)
