from __future__ import annotations

from pathlib import Path

import pytest
from small_studies import small_grid, train

from rlmrec_fast.data.synthetic import synthesize
from rlmrec_fast.reproduce.grid import Cell


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "toy"
    synthesize(60, 40, 900, seed=1, dim=8, name="toy").save(path)
    return path


@pytest.fixture(scope="session")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Cell]:
    """A grid of four cells, all of them trained."""
    cells = small_grid(data, tmp_path_factory.mktemp("trained"))
    for cell in cells:
        train(cell)
    return cells
