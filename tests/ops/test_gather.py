from __future__ import annotations

import pytest
import torch
from helpers import same_bits

from rlmrec_fast.ops import gather, reference
from rlmrec_fast.ops._checks import STORAGE_TYPES


@pytest.mark.parametrize("dtype", STORAGE_TYPES)
@pytest.mark.parametrize("d", [0, 1, 33])
def test_rows_and_gradients_are_those_of_the_reference(dtype, d):
    rows = torch.randint(20, (300,))
    upstream = torch.randn(300, d, dtype=torch.float64).to(dtype)
    results = []
    for operator in (gather, reference.gather):
        table = torch.arange(20.0 * d).view(20, d).to(dtype).requires_grad_()
        chosen = operator(table, rows)
        results.append((chosen, *torch.autograd.grad(chosen, table, upstream)))
    assert same_bits(results[0][0], results[1][0])
    # 16-bit gradients are summed in float32 and rounded once.
    exact = torch.zeros(20, d, dtype=torch.float64).index_add(0, rows, upstream.double())
    tolerance = {2: 2.0**-7, 4: 1e-5, 8: 1e-13}[dtype.itemsize]
    torch.testing.assert_close(results[0][1].double(), exact, rtol=tolerance, atol=tolerance)


def test_gradients_are_added_in_the_order_of_the_rows():
    table = torch.zeros(3, 1, requires_grad=True)
    upstream = torch.tensor([[1e8], [3.0], [-1e8], [5.0]])
    gather(table, torch.tensor([1, 1, 1, 0])).backward(upstream)
    assert table.grad.tolist() == [[5.0], [torch.tensor(1e8).add(3.0).sub(1e8).item()], [0.0]]


def test_none_all_and_strided_rows():
    table = torch.randn(4, 6)[:, 1:4]
    assert gather(table, torch.empty(0, dtype=torch.int64)).shape == (0, 3)
    assert torch.equal(gather(table, torch.arange(4, dtype=torch.int32)), table)
    columns_apart = table.T.contiguous().T
    assert torch.equal(gather(columns_apart, torch.tensor([[2, 0], [1, 0]])[:, 0]), table[[2, 1]])


def test_the_derivatives_are_right_twice():
    table = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    rows = torch.tensor([4, 0, 4])
    assert torch.autograd.gradcheck(gather, (table, rows))
    assert torch.autograd.gradgradcheck(gather, (table, rows))
