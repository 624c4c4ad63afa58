"""The projector between texts and embeddings (Ren et al., RLMRec, WWW 2024), on chosen rows."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from rlmrec_fast.ops._checks import (
    FLOAT_TYPES,
    STORAGE_TYPES,
    check_ids,
    check_same,
    check_table,
)
from rlmrec_fast.ops.gather import gather_rows

# MKL rounds the columns that fill no whole SIMD vector otherwise than the rest, and threads decide
# which columns these are. Widths of whole vectors (of the widest kind) leave it no choice.
_VECTOR = 16

_PROBES = {
    torch.bfloat16: "_is_mkldnn_bf16_supported",
    torch.float16: "_is_mkldnn_fp16_supported",
}
_MULTIPLIED = {
    dtype for dtype, name in _PROBES.items() if getattr(torch.ops.mkldnn, name, lambda: False)()
}
"""The 16-bit types whose products torch leaves to a library on this processor."""


def project(
    vectors: Tensor,
    weight1: Tensor,
    bias1: Tensor,
    weight2: Tensor,
    bias2: Tensor,
    rows: Tensor | None = None,
    *,
    slope: float = 0.01,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Linear, LeakyReLU, Linear, of the rows that are needed and no others.

    Rows are gathered first and converted then, so a large table may be kept in 16 bits. The
    products are torch's.

    Args:
        vectors: [n, t], of any float type.
        weight1: [h, t], float32 or float64, as in ``torch.nn.Linear``.
        bias1: [h], of the same type, as are the following.
        weight2: [o, h].
        bias2: [o].
        rows: int64 [m] in [0, n), the rows to project, repeated or not; None for all.
        slope: factor of negative numbers between the two layers, at least 0.
        dtype: type in which tables are stored and multiplied (and added up in at least float32);
            that of the weights by default. Autocast does not change it. A CPU without products of
            16-bit numbers multiplies them as float32: as fast, in more memory than float32 takes.

    Returns:
        [m, o], or [n, o] without rows, in the type of the weights. Tests find it, and gradients,
        equal for any number of threads, bit by bit; the library below torch does not promise it.

    Raises:
        TypeError: an argument is of a wrong type.
        ValueError: a shape is wrong, a row or the slope is out of range, or devices differ.
    """
    _check(vectors, weight1, bias1, weight2, bias2, slope, dtype)
    stored = weight1.dtype if dtype is None else dtype
    if rows is not None:
        rows = check_ids("project", "rows", rows)
        check_same("project", ("vectors", vectors), ("rows", rows))
        vectors = gather_rows("project", vectors, rows)
    result, outputs = weight1.dtype, weight2.shape[0]
    layers = (_in_whole_vectors(x.to(stored), x.dim()) for x in (weight1, bias1, weight2, bias2))
    weight1, bias1, weight2, bias2 = layers
    vectors = _in_whole_vectors(vectors.to(stored), dims=1)
    with torch.autocast(vectors.device.type, enabled=False):
        # In place: neither layer needs what was there before to be differentiated.
        hidden = F.leaky_relu_(_linear(vectors, weight1, bias1), slope)
        return _linear(hidden, weight2, bias2)[:, :outputs].to(result)


def _linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """`F.linear`, which has but a slow loop for 16 bits where the processor lacks such products.

    That takes seven times as long as float32, in which products of 16-bit numbers are exact too.
    """
    if x.dtype in FLOAT_TYPES or x.dtype in _MULTIPLIED or not x.is_cpu:
        return F.linear(x, weight, bias)
    return F.linear(x.float(), weight.float(), bias.float()).to(x.dtype)


def _in_whole_vectors(x: Tensor, dims: int) -> Tensor:
    """Fills up the last dimensions with zeros, which change no sum, to multiples of `_VECTOR`."""
    missing = [-size % _VECTOR for size in x.shape[-dims:]]
    if not any(missing):
        return x
    return F.pad(x, [pad for size in reversed(missing) for pad in (0, size)])


def _check(
    vectors: Tensor,
    weight1: Tensor,
    bias1: Tensor,
    weight2: Tensor,
    bias2: Tensor,
    slope: float,
    dtype: torch.dtype | None,
) -> None:
    check_table("project", "vectors", vectors, STORAGE_TYPES)
    check_table("project", "weight1", weight1, FLOAT_TYPES)
    check_table("project", "weight2", weight2, [weight1.dtype])
    hidden = weight1.shape[0]
    _check_width("weight1", weight1, width=vectors.shape[1])
    _check_width("weight2", weight2, width=hidden)
    for name, bias, size in (("bias1", bias1, hidden), ("bias2", bias2, weight2.shape[0])):
        if not isinstance(bias, Tensor) or bias.dtype != weight1.dtype:
            got = bias.dtype if isinstance(bias, Tensor) else type(bias).__name__
            raise TypeError(
                f"project: {name} must be a tensor of type {weight1.dtype} like weight1 (got {got})"
            )
        if bias.shape != (size,):
            raise ValueError(f"project: {name} must have shape {(size,)} (got {tuple(bias.shape)})")
    others = {"weight1": weight1, "bias1": bias1, "weight2": weight2, "bias2": bias2}
    check_same("project", ("vectors", vectors), *others.items())
    if not slope >= 0:
        raise ValueError(f"project: slope must be >= 0 (got {slope})")
    if dtype is not None and dtype not in STORAGE_TYPES:
        raise TypeError(f"project: dtype must be None or a float type (got {dtype})")


def _check_width(name: str, weight: Tensor, width: int) -> None:
    if weight.shape[1] != width:
        raise ValueError(f"project: {name} must have {width} columns (got {weight.shape[1]})")
