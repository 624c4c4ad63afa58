"""Every query against every candidate: what info_nce, lse_matmul and reconstruction_loss share.

The operator computes loss_i = log sum_j w_j exp(q_i . k_j / t) - q_i . p_i / t (see
``csrc/cpu/contrast.h``), rows normalised or not, and never holds the matrix of logits. A sum of
losses is differentiated where it is computed, because then the exponentials are still at hand:
three matrix products in all. Single losses are computed with one, and differentiated with three.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Literal

import torch
from torch import Tensor

from rlmrec_fast.ops._autograd import differentiable, once
from rlmrec_fast.ops._checks import (
    FLOAT_TYPES,
    STORAGE_TYPES,
    check_same,
    check_table,
)

Reduction = Literal["mean", "sum", "none"]
REDUCTIONS: tuple[Reduction, ...] = ("mean", "sum", "none")


class Normalize(IntEnum):
    """How rows are brought to length 1."""

    NONE = 0
    ROOT = 1  # x / sqrt(eps + x . x)
    CLAMP = 2  # x / max(|x|, eps)


class Products(IntEnum):
    """The factors of products of float32 tables."""

    EXACT = 0
    TF32 = 1
    BFLOAT16 = 2


def contrast(
    op: str,
    query: Tensor,
    candidates: Tensor,
    positive: Tensor | None,
    *,
    temperature: float,
    eps: float,
    delta: float,
    normalize: Normalize,
    query_weight: Tensor | None,
    candidate_weight: Tensor | None,
    reduction: Reduction,
    dtype: torch.dtype | None,
) -> Tensor:
    """The reduced losses of checked arguments; without positives just the log-sum-exp."""
    tables = (query, candidates, positive)
    products = check_products(op, dtype, query)
    settings = (float(temperature), float(eps), float(delta), int(normalize), int(products))
    try:
        if reduction == "none":
            losses: Tensor = _contrast_losses(*tables, candidate_weight, *settings)
            return losses if query_weight is None else losses * query_weight
        coefficients = query.new_ones(query.shape[0]) if query_weight is None else query_weight
        wanted = [
            torch.is_grad_enabled() and table is not None and table.requires_grad
            for table in tables
        ]
        total: Tensor = _contrast_sum(*tables, candidate_weight, coefficients, *settings, *wanted)[
            0
        ]
    except ValueError as error:
        # Only the kernel looks at the weights, and it does not know what they are called.
        name = "weights" if op == "lse_matmul" else "candidate_weight"
        raise ValueError(str(error).replace("contrast: weights", f"{op}: {name}")) from None
    return total / query.shape[0] if reduction == "mean" else total


def check_tables(op: str, **tables: Tensor) -> list[Tensor]:
    """Checks tables of equal width, type and device; 16-bit ones come back as float32."""
    for name, table in tables.items():
        check_table(op, name, table, STORAGE_TYPES)
    wide = {n: t if t.dtype in FLOAT_TYPES else t.float() for n, t in tables.items()}
    (first_name, first), *others = wide.items()
    for name, table in others:
        if table.shape[1] != first.shape[1]:
            raise ValueError(
                f"{op}: {name} must have {first.shape[1]} columns like {first_name} "
                f"(got {table.shape[1]})"
            )
        if table.dtype != first.dtype:
            raise TypeError(
                f"{op}: {name} must be of {first_name}'s type or 16-bit beside float32 "
                f"(got {table.dtype} and {first.dtype})"
            )
        check_same(op, (first_name, first), (name, table))
    return list(wide.values())


def check_weight(op: str, name: str, weight: Tensor | None, table: Tensor) -> Tensor | None:
    """Checks a weight per row of a table; returns it in the table's type, without a gradient."""
    if weight is None:
        return None
    if not isinstance(weight, Tensor):
        raise TypeError(f"{op}: {name} must be a tensor (got {type(weight).__name__})")
    if weight.shape != table.shape[:1]:
        raise ValueError(
            f"{op}: {name} must have shape ({table.shape[0]},) (got {tuple(weight.shape)})"
        )
    check_same(op, ("the tables", table), (name, weight))
    return weight.detach().to(table.dtype)


def check_settings(op: str, temperature: float, reduction: str, eps: float = 0.0) -> None:
    """Refuses temperatures and reductions that mean nothing."""
    if not 0 < temperature < float("inf"):
        raise ValueError(f"{op}: temperature must be positive and finite (got {temperature})")
    if reduction not in REDUCTIONS:
        raise ValueError(f"{op}: reduction must be one of {REDUCTIONS} (got {reduction!r})")
    if not 0 <= eps < float("inf"):
        raise ValueError(f"{op}: eps must be finite and not negative (got {eps})")


def check_products(op: str, dtype: torch.dtype | None, query: Tensor) -> Products:
    """What factors products are to be taken of; refuses other types than the tables'."""
    if dtype is None or dtype == query.dtype:
        tf32 = query.is_cuda and query.dtype == torch.float32 and _is_tf32_allowed()
        return Products.TF32 if tf32 else Products.EXACT
    if dtype != torch.bfloat16 or query.dtype != torch.float32:
        raise ValueError(
            f"{op}: dtype must be None, the tables' own {query.dtype}, or torch.bfloat16 for "
            f"float32 tables (got {dtype})"
        )
    return Products.BFLOAT16


def check_not_empty(op: str, name: str, table: Tensor) -> None:
    """Refuses a table without rows."""
    if table.shape[0] == 0:
        raise ValueError(f"{op}: {name} must have at least one row (got none)")


def _is_tf32_allowed() -> bool:
    return bool(torch.backends.cuda.matmul.fp32_precision == "tf32")


# All that torch.compiler.assume_constant_result does, but for importing the compiler: two seconds.
_is_tf32_allowed._dynamo_marked_constant = True  # type: ignore[attr-defined]


@torch.library.register_fake("rlmrec_fast::contrast_losses")
def _fake_losses(query: Tensor, *_: object) -> Tensor:
    return query.new_empty(query.shape[0])


@torch.library.register_fake("rlmrec_fast::contrast_sum")
def _fake_sum(
    query: Tensor,
    candidates: Tensor,
    positive: Tensor | None,
    weights: Tensor | None,
    coefficients: Tensor,
    temperature: float,
    eps: float,
    delta: float,
    normalize: int,
    products: int,
    want_query: bool,
    want_candidates: bool,
    want_positive: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    d = query.shape[1]
    return (
        query.new_empty(()),
        query.new_empty(query.shape[0] if want_query else 0, d),
        query.new_empty(candidates.shape[0] if want_candidates else 0, d),
        query.new_empty(query.shape[0] if want_positive else 0, d),
    )


def _setup_losses(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:4])
    ctx.settings = inputs[4:]


def _backward_losses(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    wanted = ctx.needs_input_grad[:3]
    _, *grads = _contrast_sum(*ctx.saved_tensors, grad.contiguous(), *ctx.settings, *wanted)
    chosen = [g if want else None for g, want in zip(grads, wanted, strict=True)]
    return (*once("contrast_losses", chosen, *ctx.saved_tensors[:3]), *[None] * 6)


def _setup_sum(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.save_for_backward(*output[1:], *inputs[:3])
    ctx.mark_non_differentiable(*output[1:])
    ctx.set_materialize_grads(False)
    ctx.wanted = inputs[-3:]


def _backward_sum(ctx: Any, grad: Tensor | None, *_: object) -> tuple[Tensor | None, ...]:
    if grad is None:
        return (None,) * 13
    saved, inputs = ctx.saved_tensors[:3], ctx.saved_tensors[3:]
    grads = [g * grad if want else None for g, want in zip(saved, ctx.wanted, strict=True)]
    return (*once("contrast_sum", grads, *inputs), *[None] * 10)


_contrast_losses = differentiable("rlmrec_fast::contrast_losses", _backward_losses, _setup_losses)
_contrast_sum = differentiable("rlmrec_fast::contrast_sum", _backward_sum, _setup_sum)
