"""The texts' vectors of a data set as an alignment takes them, or a refusal by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from rlmrec_fast.data.vectors import Vectors, check_finite, check_vectors, vector_faults

if TYPE_CHECKING:
    from rlmrec_fast.data import Dataset

SIDES = ("user", "item")


def require_texts(dataset: Dataset, allow_zero_vectors: bool = False) -> str:
    """Refuses a data set whose text vectors cannot be aligned with.

    Args:
        dataset: has `user_vectors` and `item_vectors`.
        allow_zero_vectors: whether a vector may be zero, and so without direction.

    Returns:
        What there is, on one line, zero vectors counted.

    Raises:
        TypeError: vectors are not a numpy array of floats.
        ValueError: vectors are missing, of a wrong shape, different widths, not finite, or zero.
    """
    tables = {f"{side}_vectors": getattr(dataset, f"{side}_vectors") for side in SIDES}
    missing = [name for name, table in tables.items() if table is None]
    if missing:
        raise ValueError(
            f"Dataset: {' and '.join(missing)} must be there to align with texts "
            f"(got none in {dataset.name})"
        )
    facts = []
    for (name, table), rows in zip(tables.items(), dataset.train.shape, strict=True):
        check_vectors(table, rows, name)
        check_finite(table, name)
        zeros = vector_faults(table).zero_rows
        if zeros and not allow_zero_vectors:
            first = int(np.flatnonzero(~table.any(axis=1))[0])
            raise ValueError(
                f"Dataset: {name} must not be zero, for zero has no direction (got {zeros} zero "
                f"rows, first row {first}; --allow-zero-vectors takes them as they are)"
            )
        facts.append(f"{name} {table.shape} {table.dtype} ({zeros} zero)")
    _require_same_width(*tables.values())
    return f"texts: {', '.join(facts)}"


def text_table(dataset: Dataset) -> Tensor:
    """The vectors of all texts, `[U + I, t]`, users first, in 16 bits if they are, else in 32."""
    parts = [
        torch.from_numpy(np.array(vectors, np.float32 if vectors.itemsize == 8 else None))
        for vectors in (dataset.user_vectors, dataset.item_vectors)
        if vectors is not None
    ]
    return torch.cat(parts)


def _require_same_width(users: Vectors, items: Vectors) -> None:
    if users.shape[1] != items.shape[1]:
        raise ValueError(
            f"Dataset: item_vectors must be as wide as user_vectors, {users.shape[1]} "
            f"(got {items.shape[1]}); one encoder must have made both"
        )
