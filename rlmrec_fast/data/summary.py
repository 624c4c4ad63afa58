"""What a data set is like, in numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from rlmrec_fast.data.dataset import Dataset
from rlmrec_fast.data.matrices import SPLITS, overlap
from rlmrec_fast.data.vectors import vector_faults

QUANTILES = {"min": 0.0, "p25": 0.25, "median": 0.5, "p75": 0.75, "p90": 0.9, "p99": 0.99, "max": 1}


def summarize(dataset: Dataset) -> dict[str, Any]:
    """Measures a data set.

    Args:
        dataset: The data set; its vectors are read once, from front to back.

    Returns:
        Plain numbers and texts, ready for JSON:
        `name`, `source`, `num_users`, `num_items`;
        `interactions`: of `train`, `validation`, `test` and the `total`;
        `density`: training interactions / (U * I);
        `users`, `items`: each with `degrees` (quantiles and mean of the training interactions of
        one), `without` (how many have no interaction, by split) and `text` (`titles` and
        `profiles`: how many are not blank, None where there is no table; `vectors`: None, or their
        `dim`, `dtype`, `zero_rows` and `non_finite_rows`);
        `overlap`: interactions that two splits share, by pair; all 0 in a sound data set.
    """
    matrices = {split: getattr(dataset, split) for split in SPLITS}
    interactions = {split: int(matrix.nnz) for split, matrix in matrices.items()}
    pairs = [("train", "validation"), ("train", "test"), ("validation", "test")]
    return {
        "name": dataset.name,
        "source": dataset.source,
        "num_users": dataset.num_users,
        "num_items": dataset.num_items,
        "interactions": {**interactions, "total": sum(interactions.values())},
        "density": interactions["train"] / (dataset.num_users * dataset.num_items),
        "users": _side(dataset, "user"),
        "items": _side(dataset, "item"),
        "overlap": {f"{a}_{b}": overlap(matrices[a], matrices[b]) for a, b in pairs},
    }


def _side(dataset: Dataset, side: str) -> dict[str, Any]:
    degrees = {split: _degrees(dataset, split, side) for split in SPLITS}
    train = degrees["train"]
    quantiles = np.quantile(train, list(QUANTILES.values()), method="inverted_cdf")
    vectors, table = getattr(dataset, f"{side}_vectors"), getattr(dataset, f"{side}s")
    return {
        "degrees": {
            **{name: int(value) for name, value in zip(QUANTILES, quantiles, strict=True)},
            "mean": float(train.mean()),
        },
        "without": {split: int((degrees[split] == 0).sum()) for split in SPLITS},
        "text": {
            "titles": _filled(table, "title"),
            "profiles": _filled(table, "profile"),
            "vectors": None if vectors is None else _vectors(vectors),
        },
    }


def _degrees(dataset: Dataset, split: str, side: str) -> np.ndarray[Any, np.dtype[np.int64]]:
    matrix: sp.csr_array = getattr(dataset, split)
    if side == "user":
        return np.diff(matrix.indptr).astype(np.int64)
    return np.bincount(matrix.indices, minlength=dataset.num_items)


def _filled(table: Any, column: str) -> int | None:
    if table is None:
        return None
    return int((table[column].fill_null("").str.strip_chars().str.len_bytes() > 0).sum())


def _vectors(vectors: Any) -> dict[str, Any]:
    faults = vector_faults(vectors)
    return {
        "dim": int(vectors.shape[1]),
        "dtype": str(vectors.dtype),
        "zero_rows": faults.zero_rows,
        "non_finite_rows": faults.non_finite_rows,
    }
