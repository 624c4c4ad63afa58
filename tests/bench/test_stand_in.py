"""The stand-in for a GPU refuses what a GPU refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from stand_in import THERE, stand_in

from rlmrec_fast import InteractionGraph, ops


@pytest.fixture(autouse=True)
def _stand_in():
    with stand_in():
        yield


def table(device="cuda"):
    return torch.arange(12.0, device=device).view(4, 3)


@pytest.mark.parametrize(
    "mistake",
    [
        lambda: table() + torch.ones(3),
        lambda: table() @ torch.ones(3, 2),
        lambda: torch.stack([torch.zeros((), device="cuda"), torch.zeros(())]),
        lambda: table().index_select(0, torch.arange(2)),
        lambda: table("cpu")[torch.arange(2, device="cuda")],
        lambda: table()[torch.arange(2)],
        lambda: table().index_put_((torch.arange(2),), torch.ones(2, 3)),
        lambda: torch.sparse_coo_tensor(torch.zeros(2, 1, device="cuda").long(), torch.ones(1)),
        lambda: torch.spmm(torch.eye(4).to_sparse(), table()),
        lambda: torch.eye(4).to_sparse_csr() @ table(),
        lambda: ops.squared_norm(table()) + torch.ones(1),
        lambda: ops.gather(table(), torch.arange(2)),
        lambda: ops.propagate(table(), InteractionGraph.from_pairs([0, 1], [0, 1], 2, 2), 1),
        lambda: torch.rand(3, device="cuda", generator=torch.Generator()),
    ],
)
def test_tensors_of_two_devices_do_not_meet(mistake):
    with pytest.raises((RuntimeError, ValueError), match=r"device|must be on"):
        mistake()


def test_gradients_are_watched_too():
    class Forgetful(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, grad):
            return grad * torch.ones(4, 3)

    x = table().requires_grad_()
    with pytest.raises(RuntimeError, match="two different devices"):
        Forgetful.apply(x).sum().backward()


def test_numpy_does_not_see_what_is_there():
    for read in (torch.Tensor.numpy, np.asarray):
        with pytest.raises(TypeError, match="numpy"):
            read(table())
    assert np.array_equal(table().cpu().numpy(), np.arange(12.0).reshape(4, 3))


def test_what_follows_from_a_tensor_is_where_it_is():
    x = table().requires_grad_()
    found = [x[1:], x.T, x.new_zeros(2), torch.rand_like(x), x.double(), x.to(torch.float64)]
    found += torch.autograd.grad(x.square().sum(), x)
    found += [torch.nn.Linear(3, 2).to("cuda").weight, x * torch.tensor(2.0)]
    assert {tensor.device for tensor in found} == {THERE}
    assert all(tensor.is_cuda for tensor in found)
    for tensor in (x.cpu(), x.to("cpu", torch.float64), torch.zeros(3)):
        assert tensor.device.type == "cpu"


def test_freed_tensors_leave_no_trace():
    for _ in range(1000):
        table()
        assert torch.zeros(4, 3).device.type == "cpu"
