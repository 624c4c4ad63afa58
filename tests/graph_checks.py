"""What the tests of the graphs share."""

from __future__ import annotations

import numpy as np
import torch

from rlmrec_fast.graph import InteractionGraph, WeightedGraph
from rlmrec_fast.symmetric import SymmetricGraph

Graph = InteractionGraph | SymmetricGraph | WeightedGraph

NUM_USERS, NUM_ITEMS = 30, 20
SIZES = (NUM_USERS, NUM_ITEMS)
NAN = float("nan")


def make_pairs() -> tuple[np.ndarray, np.ndarray]:
    """Random pairs with repetitions; users 27.. and items 18.. have none."""
    rng = np.random.default_rng(0)
    return rng.integers(0, 27, 300), rng.integers(0, 18, 300)


def tensors_of(graph: Graph) -> dict[str, torch.Tensor]:
    return {name: v for name, v in vars(graph).items() if isinstance(v, torch.Tensor)}


def assert_same(a: Graph, b: Graph) -> None:
    """Every field of both graphs is equal, types included."""
    assert vars(a).keys() == vars(b).keys()
    for name, value in vars(a).items():
        other = vars(b)[name]
        if isinstance(value, torch.Tensor):
            assert value.dtype == other.dtype, name
            assert torch.equal(value, other), name
        elif name == "has_full_user":
            assert value or not other  # a drawn graph says what is possible, not what is
        else:
            assert value == other, name
