from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlmrec_fast.data import vectors as module
from rlmrec_fast.data.vectors import check_finite, check_vectors, read_vectors, vector_faults
from rlmrec_fast.errors import DatasetError


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_of_the_right_shape_are_taken(dtype: Any) -> None:
    check_vectors(np.ones((3, 2), dtype), 3, "user_vectors")


@pytest.mark.parametrize(
    ("vectors", "error"),
    [
        ([[1.0]], TypeError),
        (np.ones((3, 2), int), TypeError),
        (np.ones((3, 2), ">f4"), TypeError),
        (np.ones((2, 2)), ValueError),
        (np.ones(3), ValueError),
        (np.ones((3, 0)), ValueError),
        (np.ones((3, 2, 1)), ValueError),
    ],
)
def test_other_tables_are_refused_by_name(vectors: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="Dataset: user_vectors must"):
        check_vectors(vectors, 3, "user_vectors")


@pytest.mark.parametrize("block_bytes", [1, 24, 2**20])
def test_faulty_rows_are_counted_whatever_the_block(
    block_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BLOCK_BYTES", block_bytes)
    table = np.array([[1, 2], [0, 0], [np.nan, 0], [0, 3], [np.inf, 1], [0, -0.0]], np.float32)
    assert vector_faults(table) == (2, 2, 2)
    with pytest.raises(ValueError, match="NaN or infinity in 2 rows, first in row 2"):
        check_finite(table, "item_vectors")


def test_a_file_is_mapped_and_not_read(tmp_path: Path) -> None:
    file = tmp_path / "v.npy"
    np.save(file, np.ones((3, 2)))
    result = read_vectors(file)
    assert isinstance(result, np.memmap)
    assert not result.flags.writeable


def test_damaged_files_are_named(tmp_path: Path) -> None:
    file = tmp_path / "v.npy"
    np.save(file, np.ones((30, 2)))
    content = file.read_bytes()
    for length in range(0, len(content), 13):
        file.write_bytes(content[:length])
        with pytest.raises(DatasetError, match=r"v\.npy: must be a whole"):
            read_vectors(file)
    np.save(file, np.array([[None]], dtype=object))
    with pytest.raises(DatasetError, match=r"v\.npy: must be a whole"):
        read_vectors(file)
    with file.open("wb") as out:
        np.savez(out, a=np.ones(2))
    with pytest.raises(DatasetError, match="archive"):
        read_vectors(file)
