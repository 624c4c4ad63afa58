from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from rlmrec_fast.data.matrices import canonical, overlap, read_matrix, write_matrix
from rlmrec_fast.errors import DatasetError

DENSE = np.array([[0, 2, 0], [0, 0, 0], [5, 0, -1]])
CANONICAL = (DENSE != 0).astype(np.float32)


@pytest.mark.parametrize("layout", ["csr", "csc", "coo", "lil", "dok", "bsr", "dia"])
@pytest.mark.parametrize("kind", [sp.csr_array, sp.csr_matrix])
def test_every_sparse_form_becomes_sorted_ones(layout: str, kind: Any) -> None:
    result = canonical(kind(DENSE).asformat(layout), "train")
    assert type(result) is sp.csr_array
    assert result.dtype == np.float32
    assert result.has_canonical_format
    np.testing.assert_array_equal(result.toarray(), CANONICAL)


def test_duplicates_and_zeros_are_removed_even_where_they_cancel() -> None:
    rows, columns = np.array([0, 0, 1, 1, 1]), np.array([1, 1, 2, 0, 0])
    matrix = sp.coo_array((np.array([1.0, -1.0, 0.0, 3.0, 3.0]), (rows, columns)), shape=(2, 3))
    result = canonical(matrix, "train")
    np.testing.assert_array_equal(result.toarray(), [[0, 1, 0], [1, 0, 0]])
    assert result.nnz == 2


def test_unsorted_columns_are_sorted_and_the_input_is_left_alone() -> None:
    matrix = sp.csr_array((np.ones(2), np.array([2, 0]), np.array([0, 2])), shape=(1, 3))
    assert canonical(matrix, "train").indices.tolist() == [0, 2]
    assert matrix.indices.tolist() == [2, 0]


def test_a_canonical_matrix_is_taken_as_it_is() -> None:
    matrix = canonical(sp.coo_array(DENSE), "train")
    assert canonical(matrix, "train") is matrix


@pytest.mark.parametrize(
    ("matrix", "error", "message"),
    [
        (np.eye(2), TypeError, "train must be a sparse matrix .got ndarray"),
        (sp.csr_array(np.eye(2) * 1j), TypeError, "must hold real numbers"),
        (sp.csr_array((0, 3)), ValueError, "at least one user"),
        (sp.csr_array((3, 0)), ValueError, "at least one user"),
        (sp.coo_array(np.ones(3)), ValueError, "at least one user and one item"),
        (sp.csr_array(np.array([[np.nan]])), ValueError, "finite values"),
        (sp.csr_array(np.array([[np.inf]])), ValueError, "finite values"),
    ],
)
def test_what_is_no_interaction_matrix_is_refused(
    matrix: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        canonical(matrix, "train")


def test_index_arrays_out_of_range_are_refused_before_scipy_follows_them() -> None:
    compressed = sp.csr_array(DENSE)
    compressed.indices[0] = 10**6
    with pytest.raises(ValueError, match="train must be consistent"):
        canonical(compressed, "train")
    for axis in (0, 1):
        coordinates = sp.coo_array(DENSE)
        coordinates.coords[axis][0] = 10**6
        with pytest.raises(ValueError, match=r"train must have (users|items) in"):
            canonical(coordinates, "train")


def test_overlap_counts_shared_interactions() -> None:
    a = canonical(sp.coo_array(np.array([[1, 1, 0], [0, 0, 1]])), "a")
    b = canonical(sp.coo_array(np.array([[1, 0, 1], [0, 0, 1]])), "b")
    assert overlap(a, b) == 2
    assert overlap(a, a) == 3


def test_a_matrix_is_read_as_it_was_written(tmp_path: Path) -> None:
    file = tmp_path / "train.npz"
    write_matrix(file, canonical(sp.coo_array(DENSE), "train"))
    np.testing.assert_array_equal(read_matrix(file).toarray(), CANONICAL)


def test_a_cut_or_damaged_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "train.npz"
    write_matrix(file, canonical(sp.random_array((50, 40), density=0.2, rng=1), "train"))
    content = file.read_bytes()
    for length in range(0, len(content), 37):
        file.write_bytes(content[:length])
        with pytest.raises(DatasetError, match=r"train\.npz: must be a whole"):
            read_matrix(file)
    rng = np.random.default_rng(0)
    for _ in range(200):
        damaged = bytearray(content)
        damaged[rng.integers(len(content))] ^= 1 << rng.integers(8)
        file.write_bytes(bytes(damaged))
        try:
            read_matrix(file)
        except DatasetError as error:
            assert "train.npz" in str(error)  # noqa: PT017  (some bits do not matter)


def test_an_archive_of_another_layout_or_with_pickles_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "train.npz"
    sp.save_npz(file, sp.coo_array(DENSE))
    with pytest.raises(DatasetError, match=r"CSR matrix \(got coo"):
        read_matrix(file)
    np.savez(file, format=np.array(["csr"], dtype=object))
    with pytest.raises(DatasetError, match="allow_pickle=False"):
        read_matrix(file)


def test_an_archive_with_indices_out_of_range_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "train.npz"
    matrix = sp.csr_array(DENSE)
    matrix.indices[0] = 99
    sp.save_npz(file, matrix)
    with pytest.raises(DatasetError, match=r"train\.npz: Dataset: train must be consistent"):
        read_matrix(file)
