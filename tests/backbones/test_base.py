from __future__ import annotations

import numpy as np
import pytest
import torch

from rlmrec_fast.backbones import BACKBONES, Batch, LightGCN
from rlmrec_fast.graph import InteractionGraph


@pytest.fixture
def graph() -> InteractionGraph:
    rng = np.random.default_rng(0)
    return InteractionGraph.from_pairs(rng.integers(0, 30, 200), rng.integers(0, 20, 200), 30, 20)


def batch(graph: InteractionGraph) -> Batch:
    users, positives = graph.interactions()
    return Batch(users, positives, positives.flip(0))


@pytest.mark.parametrize("name", BACKBONES)
def test_the_initial_table_is_xavier_uniform_for_users_and_items_separately(name, graph):
    table = BACKBONES[name](graph, dim=64).embedding.detach()
    for part in table.split([graph.num_users, graph.num_items]):
        bound = (6 / sum(part.shape)) ** 0.5
        assert part.abs().max() <= bound
        assert part.abs().max() > 0.98 * bound
        assert part.mean().abs() < 0.1 * bound


@pytest.mark.parametrize("name", BACKBONES)
def test_the_seed_alone_decides_the_initial_table(name, graph):
    first = BACKBONES[name](graph, seed=1)
    torch.manual_seed(99)
    assert torch.equal(first.embedding, BACKBONES[name](graph, seed=1).embedding)
    assert not torch.equal(first.embedding, BACKBONES[name](graph, seed=2).embedding)


@pytest.mark.parametrize("name", BACKBONES)
def test_creating_from_settings_hands_over_what_the_constructor_names(name, graph):
    defaults = BACKBONES[name].parameters_and_defaults()
    settings = defaults | {"dim": 7, "reg_weight": 0.25, "batch_size": 10}
    model = BACKBONES[name].create(graph, settings)
    assert model.embedding.shape == (50, 7)
    assert model.reg_weight == 0.25


@pytest.mark.parametrize("name", BACKBONES)
def test_final_tables_have_no_dropout_and_no_gradient_and_keep_the_mode(name, graph):
    model = BACKBONES[name](graph)
    for training in (True, False):
        model.train(training)
        users, items = model.final()
        assert model.training is training
        assert not users.requires_grad
        assert (len(users), len(items)) == (graph.num_users, graph.num_items)
        assert all(torch.equal(a, b) for a, b in zip(model.final(), (users, items), strict=True))


@pytest.mark.parametrize("name", BACKBONES)
def test_the_same_seed_gives_the_same_loss_and_another_seed_another(name, graph):
    model = BACKBONES[name](graph)
    triplets = batch(graph)
    first = model.loss(triplets, 5)["rec_loss"]
    assert torch.equal(first, model.loss(triplets, 5)["rec_loss"])
    assert not torch.equal(first, model.loss(triplets, 6)["rec_loss"])


@pytest.mark.parametrize("name", BACKBONES)
def test_a_loss_is_the_terms_of_the_views_and_reg(name, graph):
    model, triplets = BACKBONES[name](graph), batch(graph)
    views = model.views(model.embedding, 5)
    assert views[0].shape == (50, model.final_dim)
    assert model.final()[0].shape == (30, model.final_dim)
    terms, loss = model.terms(views, triplets), model.loss(triplets, 5)
    assert loss.keys() == terms.keys() | {"reg_loss"}
    assert all(torch.equal(loss[name], term) for name, term in terms.items())


@pytest.mark.parametrize("name", BACKBONES)
def test_an_alignment_is_shown_no_more_than_the_batch(name, graph):
    triplets = batch(graph)
    seen = BACKBONES[name](graph).compared(triplets)
    for part, whole in zip(seen, triplets, strict=True):
        assert len(part) == 0 or torch.equal(part, whole)


def test_reg_covers_every_parameter(graph):
    class WithMore(LightGCN):
        def __init__(self, graph: InteractionGraph) -> None:
            super().__init__(graph, reg_weight=0.5)
            self.matrix = torch.nn.Parameter(torch.full((3, 2), 2.0))

    model = WithMore(graph)
    expected = 0.5 * (model.embedding.double().square().sum() + 24)
    loss = model.loss(batch(graph), 0)["reg_loss"]
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    loss.backward()
    assert torch.equal(model.matrix.grad, model.matrix.detach())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dim": 0}, r"dim must be at least 1 \(got 0\)"),
        ({"reg_weight": -1.0}, r"reg_weight must be >= 0 \(got -1.0\)"),
        ({"num_layers": -1}, r"num_layers must be >= 0 \(got -1\)"),
        ({"keep_rate": 0.0}, r"keep_rate must be in \(0, 1\] \(got 0.0\)"),
        ({"keep_rate": 1.5}, r"keep_rate must be in \(0, 1\] \(got 1.5\)"),
        ({"keep_rate": float("nan")}, r"keep_rate must be in \(0, 1\] \(got nan\)"),
    ],
)
def test_values_out_of_bounds_are_refused_by_name(graph, settings, message):
    with pytest.raises(ValueError, match=f"LightGCN: {message}"):
        LightGCN(graph, **settings)
