"""A data set: who interacted with what, split three ways, and what is known about both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import scipy.sparse as sp

from rlmrec_fast.data.matrices import SPLITS, canonical
from rlmrec_fast.data.tables import checked_table
from rlmrec_fast.data.vectors import CHEAP_BYTES, Vectors, check_finite, check_vectors

MANIFEST = "dataset.json"
TRAINING_PICKLE = "trn_mat.pkl"


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Interactions of U users with I items, and their texts.

    The constructor brings every part into its one form and checks that they agree.

    Attributes:
        name: A short name, such as `amazon`.
        train: Training interactions, U x I, CSR, sorted, without duplicates, values 1 (float32).
            Any scipy sparse matrix may be given; its non-zero values are the interactions.
        validation: Interactions held out to choose the best epoch, as `train`.
        test: Interactions held out to the end, as `train`.
        user_vectors: Text vectors of the users, [U, t], floats, perhaps memory-mapped; or None.
        item_vectors: Text vectors of the items, [I, t], likewise.
        users: Table of the users, row n being user n: columns `id`, `title`, `profile` and
            `description`, text, null where unknown; or None.
        items: Table of the items, likewise.
        source: Where the data came from, for people.
        encoding: How the text vectors were made (`rlmrec_fast.semantic.encode`), None where that
            is unknown. Whoever replaces the vectors replaces it, too.

    Raises:
        TypeError: A part has the wrong type.
        ValueError: Parts disagree in size, a matrix or table is inconsistent, or vectors of up to
            256 MiB hold NaN or infinity (`save` checks larger ones).
    """

    name: str
    train: sp.csr_array
    validation: sp.csr_array
    test: sp.csr_array
    user_vectors: Vectors | None = None
    item_vectors: Vectors | None = None
    users: pl.DataFrame | None = None
    items: pl.DataFrame | None = None
    source: str = ""
    encoding: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip():
            raise ValueError(f"Dataset: name must not be empty (got {self.name!r})")
        for split in SPLITS:
            object.__setattr__(self, split, canonical(getattr(self, split), split))
        for split in SPLITS[1:]:
            shape = getattr(self, split).shape
            if shape != self.train.shape:
                raise ValueError(
                    f"Dataset: {split} must have the shape of train, {self.train.shape}"
                    f" (got {shape})"
                )
        self._check_side("user", self.num_users)
        self._check_side("item", self.num_items)

    def _check_side(self, side: str, rows: int) -> None:
        vectors = getattr(self, f"{side}_vectors")
        if vectors is not None:
            check_vectors(vectors, rows, f"{side}_vectors")
            if vectors.nbytes <= CHEAP_BYTES:
                check_finite(vectors, f"{side}_vectors")
        table = getattr(self, f"{side}s")
        if table is not None:
            object.__setattr__(self, f"{side}s", checked_table(table, rows, f"{side}s"))

    @property
    def num_users(self) -> int:
        """U."""
        return int(self.train.shape[0])

    @property
    def num_items(self) -> int:
        """I."""
        return int(self.train.shape[1])

    def __repr__(self) -> str:
        sizes = ", ".join(f"{split}={getattr(self, split).nnz}" for split in SPLITS)
        return f"Dataset({self.name!r}, users={self.num_users}, items={self.num_items}, {sizes})"

    @classmethod
    def load(cls, path: str | Path) -> Dataset:
        """Reads a data set folder, ours (`save`) or RLMRec's own.

        Args:
            path: A folder that holds `dataset.json`, or else RLMRec's `trn_mat.pkl`.

        Raises:
            FileNotFoundError: There is no such folder, or it holds neither.
            DatasetError: A file is missing, damaged, or disagrees with the others.
        """
        path = Path(path)
        if not path.is_dir():
            state = "a file" if path.exists() else "nothing there"
            raise FileNotFoundError(f"Dataset: path must be a folder (got {path}, {state})")
        if (path / MANIFEST).exists():
            from rlmrec_fast.data.folder import read_folder

            return read_folder(path)
        if (path / TRAINING_PICKLE).exists():
            from rlmrec_fast.data.rlmrec import read_rlmrec

            return read_rlmrec(path)
        raise FileNotFoundError(
            f"Dataset: {path} must hold {MANIFEST} (ours) or {TRAINING_PICKLE} (RLMRec's own)"
            f" (got {files_in(path)})"
        )

    def save(self, path: str | Path, overwrite: bool = False) -> None:
        """Writes the data set as a folder; whole, or not at all.

        The folder is written beside its place and then renamed. Text vectors are checked for NaN
        and infinity whatever their size.

        Args:
            path: The folder; missing parents are made.
            overwrite: Whether to replace a data set folder. Anything else is never replaced.

        Raises:
            FileExistsError: The path exists and `overwrite` is False, or it is not a data set.
            ValueError: Text vectors hold NaN or infinity.
        """
        from rlmrec_fast.data.folder import write_folder

        write_folder(self, Path(path), overwrite)


def files_in(path: Path, most: int = 12) -> str:
    """Names what a folder holds, for messages."""
    names = sorted(entry.name for entry in path.iterdir())
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return (", ".join(names[:most]) or "an empty folder") + more
