"""More like this: the items nearest to an item, in the embedding or in the texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from rlmrec_fast import ops
from rlmrec_fast.serving.bulk import BLOCK, Block

SPACES = ("embedding", "text")


def similar(table: Tensor, items: Sequence[int], k: int) -> Iterator[Block]:
    """The items of highest cosine similarity to each of some, itself left out, best first.

    Args:
        table: `[n, d]`, finite; a zero row has similarity 0 to every other one.
        items: their numbers, in the order in which they come back.
        k: how many, at least 1.

    Yields:
        Blocks of at most `BLOCK` items, whose `users` are these items and whose scores are cosines.

    Raises:
        ValueError: k is below 1, an item is out of range, or the table is not finite.
    """
    if k < 1:
        raise ValueError(f"similar: k must be at least 1 (got {k})")
    wrong = next((item for item in items if not 0 <= item < len(table)), None)
    if wrong is not None:
        raise ValueError(f"similar: item must be in [0, {len(table)}) (got {wrong})")
    if not bool(table.isfinite().all()):
        raise ValueError("similar: table must be finite (got NaN or infinity)")
    table = table.detach()
    table = table if table.dtype in (torch.float32, torch.float64) else table.float()
    direction = torch.nn.functional.normalize(table, dim=1)
    for start in range(0, len(items), BLOCK):
        chosen = torch.tensor(items[start : start + BLOCK], dtype=torch.int64)
        offsets = torch.arange(len(chosen) + 1)
        best, scores = ops.rank(direction[chosen], direction, k, exclude=(offsets, chosen.int()))
        yield Block(chosen.tolist(), best.numpy(), scores.numpy())


def text_table(vectors: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> Tensor:
    """Text vectors as a table to look in."""
    return torch.from_numpy(np.array(vectors, np.float32))
