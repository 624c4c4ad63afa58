from __future__ import annotations

import numpy as np
import pytest
import torch

from rlmrec_fast.backbones import Batch, LightGCN
from rlmrec_fast.graph import InteractionGraph

USERS, ITEMS = 13, 9


@pytest.fixture
def interactions() -> np.ndarray:
    matrix = np.random.default_rng(3).random((USERS, ITEMS)) < 0.3
    matrix[4] = False  # a user without interactions
    matrix[:, 7] = False  # an item without interactions
    return matrix


@pytest.fixture
def graph(interactions) -> InteractionGraph:
    users, items = interactions.nonzero()
    return InteractionGraph.from_pairs(users, items, USERS, ITEMS)


def dense_final(interactions: np.ndarray, ego: torch.Tensor, num_layers: int) -> torch.Tensor:
    """The sum of all layers, from the definition, in float64."""
    adjacency = np.zeros((USERS + ITEMS, USERS + ITEMS))
    adjacency[:USERS, USERS:] = interactions
    adjacency[USERS:, :USERS] = interactions.T
    degrees = adjacency.sum(1)
    scale = np.divide(1, np.sqrt(degrees), out=np.zeros_like(degrees), where=degrees > 0)
    normalised = torch.from_numpy(scale[:, None] * adjacency * scale[None, :])
    return sum(
        torch.linalg.matrix_power(normalised, power) @ ego for power in range(num_layers + 1)
    )


@pytest.mark.parametrize("num_layers", [0, 1, 3])
def test_final_tables_are_the_sum_of_all_layers(interactions, graph, num_layers):
    model = LightGCN(graph, dim=6, num_layers=num_layers)
    expected = dense_final(interactions, model.embedding.detach().double(), num_layers)
    torch.testing.assert_close(torch.cat(model.final()).double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("num_layers", [0, 2, 3])
def test_loss_and_gradient_equal_a_dense_computation(interactions, graph, num_layers):
    model = LightGCN(graph, dim=6, num_layers=num_layers, keep_rate=1.0, reg_weight=0.01)
    rng = torch.Generator().manual_seed(1)
    batch = Batch(*(torch.randint(size, (40,), generator=rng) for size in (USERS, ITEMS, ITEMS)))
    terms = model.loss(batch, seed=0)
    (3 * terms["rec_loss"] + terms["reg_loss"]).backward()

    ego = model.embedding.detach().double().requires_grad_()
    users, items = dense_final(interactions, ego, num_layers).split([USERS, ITEMS])
    margin = (users[batch.users] * (items[batch.negatives] - items[batch.positives])).sum(1)
    bpr, reg = torch.nn.functional.softplus(margin).mean(), 0.01 * ego.square().sum()
    (3 * bpr + reg).backward()

    assert set(terms) == {"rec_loss", "reg_loss"}
    assert terms["rec_loss"].item() == pytest.approx(bpr.item(), rel=1e-5)
    assert terms["reg_loss"].item() == pytest.approx(reg.item(), rel=1e-5)
    torch.testing.assert_close(model.embedding.grad.double(), ego.grad, rtol=1e-4, atol=1e-7)


def test_dropout_without_rescaling_keeps_the_expected_share_of_a_layer(graph):
    model = LightGCN(graph, dim=4, num_layers=1, keep_rate=0.25)
    ego = torch.ones(USERS + ITEMS, 4)
    with torch.no_grad():
        dropped = torch.stack([model(ego, seed) - ego for seed in range(2000)]).mean(0)
        whole = model.eval()(ego, 0) - ego
    torch.testing.assert_close(dropped, 0.25 * whole, rtol=0, atol=0.05)
