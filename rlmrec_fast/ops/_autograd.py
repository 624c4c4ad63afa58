"""Derivatives of operators: registered with torch, and a shorter way to them in eager mode."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

Formula = Callable[..., Any]


def _save_nothing(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    pass


def differentiable(name: str, backward: Formula, setup: Formula = _save_nothing) -> Formula:
    """Registers an operator's derivative; returns the function to call the operator by.

    A registered operator is differentiated wherever it is called. But the kernel that torch makes
    of Python formulas costs some 60 us a call, three times the way through an `autograd.Function`
    and a fifth of a layer of propagation on Amazon's graph. So calls outside of compilation and of
    `torch.func` take that way, with the same formulas, and calls without gradients neither.

    Args:
        name: the operator, ``rlmrec_fast::...``.
        backward: ``backward(ctx, *grads)``, the gradients of all inputs.
        setup: ``setup(ctx, inputs, output)``, which saves what backward needs.
    """
    torch.library.register_autograd(name, backward, setup_context=setup)
    op = getattr(torch.ops.rlmrec_fast, name.removeprefix("rlmrec_fast::")).default

    def forward(*args: Any) -> Any:
        with torch._C._AutoDispatchBelowAutograd():
            return op(*args)

    # In one with the setup: torch would look at the signature of a separate one in every call.
    def forward_and_save(ctx: Any, *args: Any) -> Any:
        output = forward(*args)
        setup(ctx, args, output)
        return output

    body = {"forward": forward_and_save, "backward": backward}
    methods = {key: staticmethod(value) for key, value in body.items()}
    function: Any = type(name, (Function,), methods)

    def call(*args: Any) -> Any:
        if torch.compiler.is_compiling() or torch._C._functorch.peek_interpreter_stack():
            return op(*args)
        if torch.is_grad_enabled() and torch._C._any_requires_grad(*args):
            return function.apply(*args)
        return forward(*args)

    return call


class _Once(Function):
    """Passes gradients on, and refuses to be differentiated itself."""

    @staticmethod
    def forward(ctx: Any, op: str, count: int, *tensors: Tensor | None) -> Any:
        ctx.op = op
        return tuple(None if t is None else t.view_as(t) for t in tensors[:count])

    @staticmethod
    def backward(ctx: Any, *_: object) -> Any:
        raise RuntimeError(f"{ctx.op}: must be differentiated once only (got a second time)")


def once(op: str, gradients: Sequence[Tensor | None], *inputs: Tensor | None) -> Any:
    """Gradients that were computed as constants, so that a second derivative fails loudly.

    Args:
        op: the name for the message.
        gradients: what a backward formula returns.
        inputs: tensors that the gradients depend on.
    """
    if not torch.is_grad_enabled():
        return tuple(gradients)
    return _Once.apply(op, len(gradients), *gradients, *inputs)
