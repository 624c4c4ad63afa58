"""The interaction graph and the weighted graph that operators work on, k-core and split.

Both graphs are checked once, when they are built or loaded; operators then trust their tensors. So
the objects are immutable, and their tensors must not be written to.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsIndex

import numpy as np
import torch
from torch import Tensor

from rlmrec_fast import _native
from rlmrec_fast._checks import (
    CheckedTensors,
    check_sparse,
    float_values,
    refuse_nan,
    whole_numbers,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray
    from typing_extensions import Self

__all__ = ["InteractionGraph", "WeightedGraph", "k_core", "split_per_user"]

_FILE_FORMAT = 1
_ROWS = ("user_offsets", "user_items", "item_offsets", "item_users")


class InteractionGraph(CheckedTensors):
    """Distinct user-item interactions as a symmetric graph over users and items.

    U = `num_users`, I = `num_items`, E = `num_interactions`, N = U + I = `num_nodes`. Node ids are
    users 0 .. U-1, then items U .. U+I-1. The adjacency has an entry for each direction of every
    interaction and, with self-loops, one for every node: nnz = 2 E (+ N).

    Attributes:
        num_users: U.
        num_items: I.
        self_loops: whether every node is its own neighbour too.
        has_full_user: whether a user may have all items, and so no negative.
        offsets: int64 [N+1], where each row begins in `columns`.
        columns: int32 [nnz], node ids, strictly increasing inside each row.
        reverse: int64 [nnz], for the edge (r, c) at a position the position of (c, r); a self-loop
            is its own reverse.
        degrees: int64 [N], entries per row, self-loops included.
        inv_sqrt_degrees: float64 [N], degree ** -0.5, and 0 where the degree is 0.
        partition: int64 [P+1, 2], work items, fixed by the graph alone. Part p reaches from
            boundary p = (row, position) to boundary p+1. The first boundary is (0, 0), the last
            (N, nnz). With target = 4096, a row of more than 2 * target entries is
            long. A long row is cut into chunks of `target` entries (the last may be smaller), and
            its begin and end are boundaries too. The rows between long rows are cut into runs of
            whole rows; a run ends before the row that would take its entries plus rows above
            target. So a part from (r, p) to (s, q) is either one chunk of the long row r (then
            s == r, or s == r+1 and p > offsets[r]) or the whole rows r .. s-1, and has at
            most 2 * target + 1 entries plus rows. Without any entry there is one part.

    Build it with `from_pairs` or `from_scipy`, or `load` it.
    """

    num_users: int
    num_items: int
    self_loops: bool
    has_full_user: bool
    columns: Tensor
    reverse: Tensor
    degrees: Tensor
    inv_sqrt_degrees: Tensor
    _inv_sqrt_degrees_single: Tensor
    partition: Tensor
    _user_offsets: Tensor
    _user_items: Tensor
    _item_offsets: Tensor
    _item_users: Tensor

    @classmethod
    def from_pairs(
        cls,
        users: ArrayLike | Tensor,
        items: ArrayLike | Tensor,
        num_users: SupportsIndex,
        num_items: SupportsIndex,
        self_loops: bool = False,
    ) -> Self:
        """Builds the graph from pairs of ids; repeated pairs count once, order does not matter.

        Args:
            users: [M] user ids in [0, num_users): numpy array, torch tensor or sequence of any
                integer type, or of floats that are whole numbers.
            items: [M] item ids in [0, num_items), likewise.
            num_users: number of users, at least 1.
            num_items: number of items, at least 1; num_users + num_items < 2**31.
            self_loops: adds the edge (n, n) for every node.

        Raises:
            ValueError: ids out of range, not whole, not one-dimensional or of unequal lengths;
                sizes out of range.
            TypeError: ids or sizes that are not numbers (bool included).
        """
        users, items = _ids(cls.__name__, users, items)
        arrays = _native.build_graph(users, items, num_users, num_items, self_loops)
        return cls._from_arrays(arrays, self_loops)

    @classmethod
    def from_scipy(cls, matrix: Any, self_loops: bool = False) -> Self:
        """Builds the graph from a scipy sparse matrix or array [U, I].

        Every stored value other than 0 is an interaction, as in `matrix.nonzero()`.

        Raises:
            ValueError: not two-dimensional, without rows or columns, or NaN among the values.
            TypeError: `matrix` is not sparse.
        """
        check_sparse(cls.__name__, matrix)
        entries = matrix.tocoo()
        refuse_nan(cls.__name__, "matrix", np.asarray(entries.data))
        kept = entries.data != 0
        num_users, num_items = matrix.shape
        return cls.from_pairs(
            entries.row[kept], entries.col[kept], num_users, num_items, self_loops
        )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Reads a graph written by `save`; the file is not trusted and nothing in it is executed.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is not a graph, or holds one that cannot be.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                if int(file["format"]) != _FILE_FORMAT:
                    raise ValueError(f"format {int(file['format'])}, not {_FILE_FORMAT}")
                num_users, num_items = int(file["num_users"]), int(file["num_items"])
                self_loops = bool(file["self_loops"])
                arrays = _native.restore_graph(
                    file["offsets"], file["items"], num_users, num_items, self_loops
                )
        except (FileNotFoundError, IsADirectoryError, PermissionError):
            raise
        # Readers of zip and npy answer a damaged file with exceptions of every kind.
        except Exception as error:
            raise ValueError(
                f"{cls.__name__}: {path} must be a graph written by save (got {error})"
            ) from error
        return cls._from_arrays(arrays, self_loops)

    @classmethod
    def _from_arrays(cls, arrays: _native.GraphArrays, self_loops: bool) -> Self:
        tensors: dict[str, Tensor] = {
            name: torch.from_numpy(array) for name, array in arrays.items()
        }
        rows = {f"_{key}": tensors.pop(key) for key in _ROWS}
        sizes = {
            "num_users": rows["_user_offsets"].shape[0] - 1,
            "num_items": rows["_item_offsets"].shape[0] - 1,
            "self_loops": self_loops,
            "has_full_user": _has_full_row(rows["_user_offsets"], rows["_item_offsets"]),
        }
        return cls._create({**sizes, **rows, **tensors, **_degrees(tensors["offsets"])})

    def _part(self, offsets: Tensor, columns: Tensor, reverse: Tensor, partition: Tensor) -> Self:
        """A graph of the same nodes without self-loops, from node rows that native code made."""
        rows = {"offsets": offsets, "columns": columns, "reverse": reverse, "partition": partition}
        entries = columns.shape[0] // 2  # the users' rows come first
        parts = {
            "_user_offsets": offsets[: self.num_users + 1],
            "_user_items": columns[:entries] - self.num_users,
            "_item_offsets": offsets[self.num_users :] - entries,
            "_item_users": columns[entries:],
        }
        sizes = {"num_users": self.num_users, "num_items": self.num_items, "self_loops": False}
        # No user has more in a part than in the whole.
        more = {**_degrees(offsets), "has_full_user": self.has_full_user}
        return self._create({**sizes, **parts, **rows, **more})

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the graph to `path` (.npz), aside first; an older file is replaced.

        The file holds what cannot be derived: format 1, num_users, num_items, self_loops, and the
        users' rows of items (offsets int64 [U+1], items int32 [E]).
        """
        path = Path(path)
        aside = path.with_name(f".{path.name}.{os.getpid()}.aside")
        try:
            with aside.open("wb") as file:
                np.savez(
                    file,
                    format=_FILE_FORMAT,
                    num_users=self.num_users,
                    num_items=self.num_items,
                    self_loops=self.self_loops,
                    offsets=self._user_offsets.cpu().numpy(),
                    items=self._user_items.cpu().numpy(),
                )
            os.replace(aside, path)
        finally:
            aside.unlink(missing_ok=True)

    def scale(self, dtype: torch.dtype) -> Tensor:
        """`inv_sqrt_degrees` as operators take it: float64 for float64, else float32."""
        if dtype == torch.float64:
            return self.inv_sqrt_degrees
        return self._inv_sqrt_degrees_single

    @property
    def num_nodes(self) -> int:
        """N = U + I."""
        return self.num_users + self.num_items

    @property
    def num_interactions(self) -> int:
        """E, the number of distinct interactions."""
        return self._user_items.shape[0]

    @property
    def user_items(self) -> tuple[Tensor, Tensor]:
        """Each user's items: offsets int64 [U+1], item ids int32 [E], increasing in each row."""
        return self._user_offsets, self._user_items

    @property
    def item_users(self) -> tuple[Tensor, Tensor]:
        """Each item's users: offsets int64 [I+1], user ids int32 [E], increasing in each row."""
        return self._item_offsets, self._item_users

    def interactions(self) -> tuple[Tensor, Tensor]:
        """The distinct interactions: users int64 [E], items int64 [E], by user, then by item."""
        users = torch.arange(self.num_users, device=self.device)
        counts = self._user_offsets.diff()
        users = users.repeat_interleave(counts, output_size=self.num_interactions)
        return users, self._user_items.long()

    def __repr__(self) -> str:
        return (
            f"InteractionGraph(num_users={self.num_users}, num_items={self.num_items}, "
            f"num_interactions={self.num_interactions}, self_loops={self.self_loops}, "
            f"device='{self.device}')"
        )


class WeightedGraph(CheckedTensors):
    """A weighted sparse matrix [R, C] and its transpose, in compressed rows.

    Entries keep the order that they are given in; repeated columns in a row add up in products,
    and explicit zeros stay entries.

    Attributes:
        num_rows: R.
        num_columns: C.
        offsets: int64 [R+1], where each row begins in `columns` and `values`.
        columns: int32 [nnz], in [0, C).
        values: float32 or float64 [nnz].
        partition: int64 [P+1, 2], work items of the rows, as `InteractionGraph.partition`.
        transposed_offsets: int64 [C+1], where each column of the matrix begins below.
        transposed_columns: int32 [nnz], the entries' rows, in increasing order in each column.
        transposed_positions: int64 [nnz], where the transpose's entries stand in `values`.
        transposed_partition: int64 [Q+1, 2], work items of the transpose's rows.

    Build it with `from_csr` or `from_scipy`.
    """

    num_rows: int
    num_columns: int
    columns: Tensor
    values: Tensor
    partition: Tensor
    transposed_offsets: Tensor
    transposed_columns: Tensor
    transposed_positions: Tensor
    transposed_partition: Tensor

    @classmethod
    def from_csr(
        cls,
        offsets: ArrayLike | Tensor,
        columns: ArrayLike | Tensor,
        values: ArrayLike | Tensor,
        num_columns: SupportsIndex,
    ) -> Self:
        """Copies and checks compressed rows, and transposes them.

        Args:
            offsets: [R+1] whole numbers from 0 to nnz that never decrease.
            columns: [nnz] whole numbers in [0, num_columns).
            values: [nnz] float32 or float64, kept as such; infinities pass, NaN does not.
            num_columns: C, at least 0.

        Raises:
            ValueError: what the above excludes, or 2**31 rows or columns.
            TypeError: arguments that are not numbers, or values of another type.
        """
        name = cls.__name__
        rows = _native.build_weighted_graph(
            whole_numbers(name, "offsets", offsets),
            whole_numbers(name, "columns", columns),
            num_columns,
        )
        weights = float_values(name, "values", values)
        if weights.shape != rows["columns"].shape:
            raise ValueError(
                f"{name}: values must have the length of columns, {rows['columns'].size} "
                f"(got shape {weights.shape})"
            )
        refuse_nan(name, "values", weights)
        sizes = {
            "num_rows": rows["offsets"].size - 1,
            "num_columns": rows["transposed_offsets"].size - 1,
        }
        arrays = {"values": weights, **rows}
        return cls._create(sizes | {key: torch.from_numpy(array) for key, array in arrays.items()})

    @classmethod
    def from_scipy(cls, matrix: Any) -> Self:
        """Takes a scipy sparse matrix or array, converted to CSR if it is not.

        Raises:
            ValueError: not two-dimensional, or NaN among the values.
            TypeError: not sparse, or values that are neither float32 nor float64.
        """
        check_sparse(cls.__name__, matrix)
        rows = matrix.tocsr()
        return cls.from_csr(rows.indptr, rows.indices, rows.data, rows.shape[1])

    def __repr__(self) -> str:
        return (
            f"WeightedGraph(num_rows={self.num_rows}, num_columns={self.num_columns}, "
            f"num_entries={self.columns.shape[0]}, dtype={self.values.dtype}, "
            f"device='{self.device}')"
        )


def k_core(
    users: ArrayLike | Tensor,
    items: ArrayLike | Tensor,
    num_users: SupportsIndex,
    num_items: SupportsIndex,
    user_min: SupportsIndex,
    item_min: SupportsIndex,
) -> NDArray[np.bool_]:
    """Which interactions belong to the k-core: the largest set in which everyone has enough.

    Args:
        users: [M] user ids, as in `InteractionGraph.from_pairs`.
        items: [M] item ids.
        num_users: number of users.
        num_items: number of items.
        user_min: distinct items that each remaining user must have.
        item_min: distinct users that each remaining item must have.

    Returns:
        bool [M], True where the interaction stays. Copies of an interaction count once and share
        its fate. Linear time.

    Raises:
        ValueError: as `InteractionGraph.from_pairs`, or a negative minimum.
        TypeError: as `InteractionGraph.from_pairs`.
    """
    users, items = _ids("k_core", users, items)
    return _native.k_core(users, items, num_users, num_items, user_min, item_min)


def split_per_user(
    users: ArrayLike | Tensor,
    items: ArrayLike | Tensor,
    num_users: SupportsIndex,
    num_items: SupportsIndex,
    *,
    ratios: Sequence[float] = (3, 1, 1),
    seed: SupportsIndex,
) -> NDArray[np.int8]:
    """Splits every user's interactions at random into training, validation and test.

    Of a user's n distinct items each part gets the whole part of n * ratio / sum(ratios). What is
    left goes one by one to the parts with the largest fractions, ties decided at random per user.
    Then, if n allows every part with a positive ratio at least one (n >= 3 for the default), each
    part that got none takes one from the part with most. Which items go where follows from hashes
    of (seed, user, item): neither the order of the input nor other users matter.

    Args:
        users: [M] user ids, as in `InteractionGraph.from_pairs`.
        items: [M] item ids.
        num_users: number of users.
        num_items: number of items.
        ratios: three numbers >= 0 with a positive sum.
        seed: in [0, 2**63).

    Returns:
        int8 [M]: 0 training, 1 validation, 2 test. Copies of an interaction share its label.

    Raises:
        ValueError: as `InteractionGraph.from_pairs`, or bad ratios, or a negative seed.
        TypeError: as `InteractionGraph.from_pairs`.
    """
    users, items = _ids("split_per_user", users, items)
    return _native.split_per_user(users, items, num_users, num_items, ratios, seed)


def _degrees(offsets: Tensor) -> dict[str, Tensor]:
    degrees = offsets.diff()
    inv_sqrt_degrees = degrees.double().sqrt().reciprocal().masked_fill(degrees == 0, 0.0)
    return {
        "degrees": degrees,
        "inv_sqrt_degrees": inv_sqrt_degrees,
        "_inv_sqrt_degrees_single": inv_sqrt_degrees.float(),
    }


def _has_full_row(offsets: Tensor, transposed_offsets: Tensor) -> bool:
    return bool((offsets.diff() == len(transposed_offsets) - 1).any())


def _ids(where: str, users: Any, items: Any) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return whole_numbers(where, "users", users), whole_numbers(where, "items", items)
