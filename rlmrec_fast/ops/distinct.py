"""The distinct rows that a batch looks at."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from rlmrec_fast.ops._checks import check_ids, check_integer


class Distinct(NamedTuple):
    """What `distinct` found.

    Attributes:
        rows: int64 [m], the distinct ids, ascending; padded, the last one is repeated at the end.
        places: int64 [n]; ``rows[places]`` are the ids.
        counts: int64 [m], how often each occurs; 0 for what is repeated at the end.
    """

    rows: Tensor
    places: Tensor
    counts: Tensor


def distinct(ids: Tensor, size: int, padded: bool = False) -> Distinct:
    """What ``torch.unique`` says of row numbers of a table, in linear time: nothing is sorted.

    Args:
        ids: int64 [n] in [0, size), repeated or not.
        size: rows of the table, at least 0. Time and memory grow with it.
        padded: whether rows and counts are of length m = min(n, size) whatever the ids are, so that
            nobody waits for a GPU. Then a GPU leaves out ids that are out of range.

    Returns:
        The distinct ids, and where each of ids is among them.

    Raises:
        TypeError: an argument is of a wrong type.
        ValueError: an id is out of range.
    """
    check_integer("distinct", "size", size)
    return distinct_rows("distinct", check_ids("distinct", "ids", ids), size, padded)


def distinct_rows(op: str, ids: Tensor, size: int, padded: bool) -> Distinct:
    """`distinct` of checked ids, for the operator that a refusal is to name."""
    try:
        return Distinct(*torch.ops.rlmrec_fast.distinct(ids, size, padded))
    except ValueError as error:
        raise ValueError(str(error).replace("distinct:", f"{op}:", 1)) from None


def must_not_wait(tensor: Tensor) -> bool:
    """Whether nobody may look at what a tensor holds: that would stop the device that it is on.

    Compiled programs keep to padded results as well, because they have one shape.
    """
    return torch.compiler.is_compiling() or tensor.device.type != "cpu"


@torch.library.register_fake("rlmrec_fast::distinct")
def _fake(ids: Tensor, size: int, padded: bool) -> tuple[Tensor, Tensor, Tensor]:
    count = ids.shape[0]
    found = min(count, size) if padded else torch.library.get_ctx().new_dynamic_size()
    return ids.new_empty(found), ids.new_empty(count), ids.new_empty(found)
