"""A square graph whose edges go both ways, such as AutoCF's decoder graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from rlmrec_fast import _native
from rlmrec_fast._checks import CheckedTensors, whole_numbers

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from torch import Tensor
    from typing_extensions import Self

__all__ = ["SymmetricGraph"]


class SymmetricGraph(CheckedTensors):
    """Edges between N nodes, in compressed rows: with (r, c) there always is (c, r).

    It has no weights; operators that take it compute their own. Self-loops are allowed.

    Attributes:
        num_nodes: N.
        offsets: int64 [N+1], where each row begins in `columns`.
        columns: int32 [nnz], node ids, strictly increasing inside each row.
        partition: int64 [P+1, 2], work items of the rows, as `InteractionGraph.partition`.

    Build it with `from_csr`.
    """

    num_nodes: int
    columns: Tensor
    partition: Tensor

    @classmethod
    def from_csr(cls, offsets: ArrayLike | Tensor, columns: ArrayLike | Tensor) -> Self:
        """Copies and checks compressed rows. Linear time.

        Args:
            offsets: [N+1] whole numbers from 0 to nnz that never decrease.
            columns: [nnz] whole numbers in [0, N), strictly increasing inside each row, and with
                an entry (c, r) for every entry (r, c).

        Raises:
            ValueError: what the above excludes, or 2**31 nodes.
            TypeError: arguments that are not numbers.
        """
        name = cls.__name__
        arrays = _native.build_symmetric_graph(
            whole_numbers(name, "offsets", offsets), whole_numbers(name, "columns", columns)
        )
        tensors = {key: torch.from_numpy(array) for key, array in arrays.items()}
        return cls._create({"num_nodes": arrays["offsets"].size - 1, **tensors})

    @classmethod
    def _of_checked(cls, offsets: Tensor, columns: Tensor, partition: Tensor) -> Self:
        """Takes over tensors that native code has just made."""
        fields = {"offsets": offsets, "columns": columns, "partition": partition}
        return cls._create({"num_nodes": offsets.shape[0] - 1, **fields})

    def __repr__(self) -> str:
        return (
            f"SymmetricGraph(num_nodes={self.num_nodes}, num_entries={self.columns.shape[0]}, "
            f"device='{self.device}')"
        )
