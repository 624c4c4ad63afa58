"""Data sets with texts, some of them missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from rlmrec_fast.data import Dataset
from rlmrec_fast.data.synthetic import synthesize
from rlmrec_fast.data.tables import make_table


def texted(
    users: int = 30, items: int = 20, *, silent_users: Sequence[int] = (), seed: int = 1
) -> Dataset:
    """Synthetic interactions and texts without vectors; some users say nothing."""
    dataset = synthesize(users, items, 8 * users, seed)
    assert dataset.users is not None
    profiles = dataset.users["profile"].to_list()
    for user in silent_users:
        profiles[user] = " "
    table = make_table(dataset.users["id"].to_list(), profiles=profiles)
    return replace(dataset, user_vectors=None, item_vectors=None, users=table)


def same_vectors(first: Dataset, second: Dataset) -> None:
    for name in ("user_vectors", "item_vectors"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
        assert getattr(first, name).dtype == getattr(second, name).dtype
