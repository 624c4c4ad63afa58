from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True)
def _benchmarks_say_where(_fixed_seed_and_threads: None) -> None:
    """What benchmarks put on a device they put there themselves; and one thread.

    Work so small gains nothing from two, and loses much where the machine is shared.
    """
    torch.set_default_device(None)
    torch.set_num_threads(1)
