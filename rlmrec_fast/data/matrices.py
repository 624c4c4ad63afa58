"""Interaction matrices: one canonical form in memory, one file form on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from rlmrec_fast.errors import DatasetError

SPLITS = ("train", "validation", "test")


def canonical(matrix: Any, name: str) -> sp.csr_array:
    """Brings an interaction matrix into the form that every part of the package may rely on.

    Args:
        matrix: Any scipy sparse matrix or array, U x I; every non-zero value is an interaction.
        name: The matrix's name in messages.

    Returns:
        CSR with sorted columns, without duplicates and explicit zeros, all values 1 (float32). A
        matrix that is in this form already is returned as it is.

    Raises:
        TypeError: `matrix` is not sparse, or its values are not real numbers.
        ValueError: It is not two-dimensional, a value is NaN or infinite, or its index arrays are
            inconsistent.
    """
    is_sparse: bool = sp.issparse(matrix)
    if not is_sparse:
        raise TypeError(f"Dataset: {name} must be a sparse matrix (got {type(matrix).__name__})")
    if matrix.ndim != 2 or 0 in matrix.shape:
        raise ValueError(
            f"Dataset: {name} must have at least one user and one item (got shape {matrix.shape})"
        )
    if matrix.dtype.kind not in "biuf":
        raise TypeError(f"Dataset: {name} must hold real numbers (got {matrix.dtype})")
    # scipy's conversions trust the index arrays and would read beyond their ends.
    if hasattr(matrix, "check_format"):
        try:
            matrix.check_format(full_check=True)
        except ValueError as error:
            raise ValueError(f"Dataset: {name} must be consistent (got {error})") from None
    if _is_canonical(matrix):
        return matrix if isinstance(matrix, sp.csr_array) else sp.csr_array(matrix)
    entries = matrix.tocoo()
    if not np.isfinite(entries.data).all():
        raise ValueError(f"Dataset: {name} must hold finite values (got NaN or infinity)")
    kept = entries.data != 0
    rows, columns = entries.row[kept], entries.col[kept]
    for axis, ids, side in (("users", rows, matrix.shape[0]), ("items", columns, matrix.shape[1])):
        if len(ids) and (ids.min() < 0 or ids.max() >= side):
            raise ValueError(f"Dataset: {name} must have {axis} in [0, {side})")
    result = sp.csr_array((np.ones(len(rows), np.float32), (rows, columns)), shape=matrix.shape)
    result.sum_duplicates()
    result.data[:] = 1
    return result


def _is_canonical(matrix: Any) -> bool:
    return bool(
        matrix.format == "csr"
        and matrix.dtype == np.float32
        and matrix.has_canonical_format
        and (matrix.data == 1).all()
    )


def overlap(first: sp.csr_array, second: sp.csr_array) -> int:
    """Counts the interactions that two canonical matrices share."""
    return int(first.multiply(second).nnz)


def read_matrix(path: Path) -> sp.csr_array:
    """Reads a CSR matrix from an `.npz` file, without unpickling.

    Raises:
        DatasetError: The file is damaged or holds something else.
    """
    # A damaged archive fails in zipfile, zlib, numpy or scipy, each with exceptions of its own.
    try:
        matrix = sp.load_npz(path)
    except Exception as error:
        raise DatasetError(f"{path}: must be a whole scipy .npz file (got {error!r})") from error
    if matrix.format != "csr":
        raise DatasetError(f"{path}: must hold a CSR matrix (got {matrix.format})")
    try:
        return canonical(matrix, path.stem)
    except (TypeError, ValueError) as error:
        raise DatasetError(f"{path}: {error}") from error


def write_matrix(path: Path, matrix: sp.csr_array) -> None:
    """Writes a canonical matrix as a compressed `.npz` file."""
    sp.save_npz(path, matrix, compressed=True)
