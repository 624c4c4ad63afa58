from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True)
def _one_thread(_fixed_seed_and_threads: None) -> None:
    """The reference's many small calls wait for each other on a busy machine.

    test_threads.py runs every operator on several threads.
    """
    torch.set_num_threads(1)
