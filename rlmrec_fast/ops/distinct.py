"""The distinct rows that a batch looks at."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from rlmrec_fast.ops._checks import check_ids, check_integer


class Distinct(NamedTuple):
    """What `distinct` found.

    Attributes:
        rows: int64 [m], the distinct ids, ascending.
        places: int64 [n]; ``rows[places]`` are the ids.
        counts: int64 [m], how often each occurs.
    """

    rows: Tensor
    places: Tensor
    counts: Tensor


def distinct(ids: Tensor, size: int) -> Distinct:
    """What ``torch.unique`` says of row numbers of a table, in linear time: nothing is sorted.

    Args:
        ids: int64 [n] in [0, size), repeated or not.
        size: rows of the table, at least 0. Time and memory grow with it.

    Returns:
        The distinct ids, and where each of ids is among them.

    Raises:
        TypeError: an argument is of a wrong type.
        ValueError: an id is out of range.
    """
    check_integer("distinct", "size", size)
    return distinct_rows("distinct", check_ids("distinct", "ids", ids), size)


def distinct_rows(op: str, ids: Tensor, size: int) -> Distinct:
    """`distinct` of checked ids, for the operator that a refusal is to name."""
    try:
        return Distinct(*torch.ops.rlmrec_fast.distinct(ids, size))
    except ValueError as error:
        raise ValueError(str(error).replace("distinct:", f"{op}:", 1)) from None


@torch.library.register_fake("rlmrec_fast::distinct")
def _fake(ids: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    found = torch.library.get_ctx().new_dynamic_size()
    return ids.new_empty(found), ids.new_empty(ids.shape[0]), ids.new_empty(found)
