from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from graphs import make_graph

from rlmrec_fast.graph import InteractionGraph

# A shell's background jobs ignore Ctrl-C, and so would the programs that tests send it to.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Inductor would compile and load programs to see what the processor can do, and start other
# processes to compile in: most of the time of the few tests that use it.
os.environ.setdefault("TORCHINDUCTOR_VEC_ISA_OK", "1")
os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--device",
        choices=("cpu", "cuda"),
        default="cpu",
        help="where tests put tensors and graphs; cuda without a GPU skips every test",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--device") == "cuda" and not torch.cuda.is_available():
        for item in items:
            item.add_marker(pytest.mark.skip(reason="no GPU"))


@pytest.fixture(autouse=True)
def _fixed_seed_and_threads(request: pytest.FixtureRequest) -> Iterator[None]:
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 - the eager RLMRec of bench draws from it
    threads = torch.get_num_threads()
    if request.config.getoption("--device") == "cuda":
        torch.set_default_device("cuda")
    yield
    torch.set_default_device(None)
    torch.set_num_threads(threads)


@pytest.fixture
def random_graph() -> InteractionGraph:
    """40 users and 30 items, of whom one user and one item have no interactions."""
    return make_graph("random")


@pytest.fixture
def parts_graph() -> InteractionGraph:
    """Large enough for about ten parts of work."""
    return make_graph("parts")


@pytest.fixture
def star_graph() -> InteractionGraph:
    """An item that all of 100,000 users have, and one that the first three have too."""
    return make_graph("star")


@pytest.fixture
def realdata() -> Path:
    """The folder with `amazon/` and `steam/`."""
    folder = os.environ.get("RLMREC_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("RLMREC_DATA names no folder")
    return Path(folder)
