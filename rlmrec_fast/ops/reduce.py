"""Sums whose order depends on the size alone, so that threads do not change a bit."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rlmrec_fast.ops._autograd import differentiable
from rlmrec_fast.ops._checks import FLOAT_TYPES


def squared_norm(x: Tensor) -> Tensor:
    """The sum of squares of all elements, as L2 regularisation takes it.

    Args:
        x: float32 or float64, any shape.

    Returns:
        A scalar of x's type, added in blocks of fixed size; 0 for an empty tensor.

    Raises:
        TypeError: x is not a float32 or float64 tensor.
    """
    if not isinstance(x, Tensor) or x.dtype not in FLOAT_TYPES:
        got = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(f"squared_norm: x must be a tensor of type float32 or float64 (got {got})")
    total: Tensor = _stable_sum(x, True)
    return total


def stable_sum(x: Tensor) -> Tensor:
    """The sum of all elements of a float32 or float64 tensor, as a scalar."""
    total: Tensor = _stable_sum(x, False)
    return total


@torch.library.register_fake("rlmrec_fast::stable_sum")
def _fake(x: Tensor, square: bool) -> Tensor:
    return x.new_empty(())


def _setup(ctx: Any, inputs: tuple[Tensor, bool], output: Tensor) -> None:
    x, ctx.square = inputs
    ctx.shape = x.shape
    ctx.save_for_backward(*([x] if ctx.square else []))


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
    if ctx.square:
        (x,) = ctx.saved_tensors
        return x * (2 * grad), None
    return grad.expand(ctx.shape), None


_stable_sum = differentiable("rlmrec_fast::stable_sum", _backward, _setup)
