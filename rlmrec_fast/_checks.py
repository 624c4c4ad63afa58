"""What the graphs' constructors ask of their arguments, and the immutable base of the graphs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray
    from typing_extensions import Self


class CheckedTensors:
    """An immutable bundle of tensors that only its own class methods fill."""

    offsets: Tensor

    def __init__(self, *_: object, **__: object) -> None:
        name = type(self).__name__
        raise TypeError(f"{name}: must be built with one of its from_... methods")

    @classmethod
    def _create(cls, fields: Mapping[str, Any]) -> Self:
        instance = cls.__new__(cls)
        instance.__dict__.update(fields)
        return instance

    def __setattr__(self, name: str, _: object) -> NoReturn:
        raise AttributeError(f"{type(self).__name__}: {name} must not be changed")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{type(self).__name__}: {name} must not be deleted")

    def _overwrite(self, other: Self) -> None:
        """Puts another bundle's values, of the same shapes, where this one's are.

        For one's own bundles alone: whoever else holds this one sees it change.
        """
        for name, value in vars(other).items():
            if isinstance(value, Tensor):
                vars(self)[name].copy_(value)

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.offsets.device

    def to(self, device: torch.device | str) -> Self:
        """The same graph with every tensor on `device`; itself if they already are there."""
        moved = {
            name: value.to(device) if isinstance(value, Tensor) else value
            for name, value in vars(self).items()
        }
        if all(moved[name] is value for name, value in vars(self).items()):
            return self
        return self._create(moved)


def whole_numbers(where: str, name: str, values: ArrayLike | Tensor) -> NDArray[np.int64]:
    """The values as int64 [M].

    Raises:
        ValueError: not one-dimensional, or a value is not whole or does not fit; says which.
        TypeError: not numbers (bool included).
    """
    if isinstance(values, Tensor) and values.is_floating_point():
        values = values.double()  # numpy knows no bfloat16
    array = _as_array(where, name, values)
    if array.ndim != 1:
        raise ValueError(f"{where}: {name} must be one-dimensional (got shape {array.shape})")
    kind = array.dtype.kind
    if kind not in "iuf":
        raise TypeError(f"{where}: {name} must be integers (got {array.dtype})")
    if kind == "f":
        array = array.astype(np.float64, copy=False)
        whole = (array == np.floor(array)) & (np.abs(array) < 2.0**63)
    elif array.dtype == np.uint64:
        whole = array < 2**63
    else:
        return array.astype(np.int64, copy=False)
    if not whole.all():
        position = int(whole.argmin())
        raise ValueError(
            f"{where}: {name} must be 64-bit integers "
            f"(got {array[position]} at position {position})"
        )
    return array.astype(np.int64)


def float_values(where: str, name: str, values: ArrayLike | Tensor) -> NDArray[Any]:
    """A copy of the values that keeps their type.

    Raises:
        TypeError: neither float32 nor float64.
    """
    got: object
    if isinstance(values, Tensor) and values.dtype not in (torch.float32, torch.float64):
        got = values.dtype
    else:
        array = _as_array(where, name, values)
        if array.dtype in (np.float32, np.float64):
            return np.array(array)
        got = array.dtype
    raise TypeError(f"{where}: {name} must be float32 or float64 (got {got})")


def refuse_nan(where: str, name: str, values: NDArray[Any]) -> None:
    """Refuses NaN.

    Raises:
        ValueError: names the position of the first.
    """
    if values.dtype.kind in "fc":
        nan = np.isnan(values)
        if nan.any():
            raise ValueError(
                f"{where}: {name} must not hold NaN (got nan at position {int(nan.argmax())})"
            )


def check_sparse(where: str, matrix: Any) -> None:
    """Refuses what is not a two-dimensional scipy sparse matrix or array.

    Raises:
        TypeError: not sparse.
        ValueError: not two-dimensional.
    """
    if not (hasattr(matrix, "tocoo") and hasattr(matrix, "tocsr")):
        raise TypeError(
            f"{where}: matrix must be a scipy sparse matrix or array (got {type(matrix).__name__})"
        )
    if matrix.ndim != 2:
        raise ValueError(f"{where}: matrix must be two-dimensional (got shape {matrix.shape})")


def _as_array(where: str, name: str, values: ArrayLike | Tensor) -> NDArray[Any]:
    if isinstance(values, Tensor):
        return values.detach().cpu().numpy()
    try:
        return np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{where}: {name} must be one array of numbers (got {error})") from error
