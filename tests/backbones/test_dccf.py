from __future__ import annotations

import numpy as np
import pytest
import torch

from rlmrec_fast.backbones import DCCF, Batch
from rlmrec_fast.graph import InteractionGraph

USERS, ITEMS, TAU = 13, 9, 0.3


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


def dense_adjacency(interactions: np.ndarray) -> torch.Tensor:
    adjacency = np.zeros((USERS + ITEMS, USERS + ITEMS))
    adjacency[:USERS, USERS:] = interactions
    adjacency[USERS:, :USERS] = interactions.T
    return torch.from_numpy(adjacency)


def adaptive(message: torch.Tensor, ego: torch.Tensor, adjacency: torch.Tensor) -> torch.Tensor:
    cosines = torch.nn.functional.cosine_similarity(message[:, None], message[None], dim=2)
    weights = adjacency * (cosines + 1) / 2
    return weights / weights.sum(1, keepdim=True).clamp(min=1e-30) @ ego


def dense_layers(model: DCCF, interactions: np.ndarray):
    """The inputs of all layers and their messages, from the definition, in float64."""
    adjacency = dense_adjacency(interactions)
    scale = adjacency.sum(1).pow(-0.5).nan_to_num(posinf=0)
    layers, messages = [model.embedding.double()], []
    for _ in range(model.num_layers):
        ego = layers[-1]
        gnn = scale[:, None] * adjacency * scale @ ego
        sides = zip(
            ego.split([USERS, ITEMS]), (model.user_intents, model.item_intents), strict=True
        )
        intent = torch.cat([(e @ w.double()).softmax(1) @ w.double().T for e, w in sides])
        four = [gnn, intent, adaptive(gnn, ego, adjacency), adaptive(intent, ego, adjacency)]
        messages.append(four)
        layers.append(ego + sum(four))
    return layers, messages


def dense_info_nce(query: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    cosines = torch.nn.functional.cosine_similarity(query[:, None], keys[None], dim=2) / TAU
    return (cosines.logsumexp(1) - cosines.diagonal()).sum()


@pytest.mark.parametrize("num_layers", [0, 1, 3])
def test_final_tables_are_the_sum_of_all_layers(interactions, graph, num_layers):
    model = DCCF(graph, dim=6, num_layers=num_layers, num_intents=5)
    with torch.no_grad():
        expected = sum(dense_layers(model, interactions)[0])
    torch.testing.assert_close(torch.cat(model.final()).double(), expected, rtol=1e-5, atol=1e-6)
    assert torch.equal(model.train()(model.embedding, 5), torch.cat(model.final()))


def test_the_contrastive_loss_is_the_definition_on_distinct_ids(interactions, graph):
    model = DCCF(graph, dim=6, num_layers=2, num_intents=5, cl_weight=0.7, cl_temperature=TAU)
    users, items = torch.tensor([0, 2, 2, 5, 0]), torch.tensor([1, 1, 1, 3, 1])
    batch = Batch(users, items, items.flip(0))
    terms = model.loss(batch, seed=0)
    assert terms.keys() == {"rec_loss", "cl_loss", "reg_loss"}
    parameters = [model.embedding, model.user_intents, model.item_intents]
    found = torch.autograd.grad(terms["cl_loss"], parameters)

    _, messages = dense_layers(model, interactions)
    # Three distinct users, two distinct positives; both parts are divided by three.
    parts = [torch.tensor([0, 2, 5]), torch.tensor([1, 3]) + USERS]
    expected = sum(
        dense_info_nce(gnn[ids], other[ids])
        for gnn, *others in messages
        for other in others
        for ids in parts
    )
    expected = 0.7 / 3 * expected
    assert terms["cl_loss"].item() == pytest.approx(expected.item(), rel=1e-5)
    for grad, truth in zip(found, torch.autograd.grad(expected, parameters), strict=True):
        torch.testing.assert_close(grad, truth, rtol=1e-3, atol=1e-5)


def test_without_layers_nothing_is_compared(graph):
    model = DCCF(graph, dim=6, num_layers=0)
    users, positives = graph.interactions()
    terms = model.loss(Batch(users, positives, positives.flip(0)), seed=0)
    assert terms["cl_loss"] == 0


def test_users_and_items_have_intents_of_their_own(graph):
    model = DCCF(graph, dim=8, num_intents=12, seed=4)
    bound = (6 / 20) ** 0.5
    for matrix in (model.user_intents, model.item_intents):
        assert matrix.shape == (8, 12)
        assert 0.9 * bound < matrix.abs().max() <= bound
    assert not torch.equal(model.user_intents, model.item_intents)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_layers": -1}, r"num_layers must be >= 0 \(got -1\)"),
        ({"num_intents": 0}, r"num_intents must be at least 1 \(got 0\)"),
        ({"cl_weight": -0.1}, r"cl_weight must be >= 0 \(got -0.1\)"),
        ({"cl_temperature": 0.0}, r"cl_temperature must be > 0 \(got 0.0\)"),
    ],
)
def test_values_out_of_bounds_are_refused_by_name(graph, settings, message):
    with pytest.raises(ValueError, match=f"DCCF: {message}"):
        DCCF(graph, **settings)
