"""A part of an interaction graph with room for more edges than it has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rlmrec_fast.graph import InteractionGraph, _degrees

if TYPE_CHECKING:
    from torch import Tensor
    from typing_extensions import Self


class PaddedGraph(InteractionGraph):
    """A graph whose `columns` and `reverse` go on with zeros behind the last edge.

    Only `offsets` say how many edges there are, so that a GPU can draw a graph without anybody
    waiting until they are counted. It is propagated on like others; but where the items' rows begin
    is as unknown as the rest, so it has no interactions to tell.
    """

    @classmethod
    def _part_of(
        cls,
        whole: InteractionGraph,
        offsets: Tensor,
        columns: Tensor,
        reverse: Tensor,
        partition: Tensor,
    ) -> Self:
        """Takes over tensors that native code has just made."""
        rows = {"offsets": offsets, "columns": columns, "reverse": reverse, "partition": partition}
        sizes = {"num_users": whole.num_users, "num_items": whole.num_items, "self_loops": False}
        # No user has more in a part than in the whole.
        more = {**_degrees(offsets), "has_full_user": whole.has_full_user}
        return cls._create({**sizes, **rows, **more})

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"PaddedGraph: {name} must be asked of a graph that is not padded, for this one does "
            "not know where its edges end"
        )

    def __repr__(self) -> str:
        return (
            f"PaddedGraph(num_users={self.num_users}, num_items={self.num_items}, "
            f"room={self.columns.shape[0]}, device='{self.device}')"
        )
