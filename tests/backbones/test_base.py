from __future__ import annotations

import numpy as np
import pytest
import torch
from small_models import make_backbone

from rlmrec_fast.backbones import BACKBONES, Backbone, Batch, LightGCN
from rlmrec_fast.graph import InteractionGraph


def make_graph(self_loops: bool = False) -> InteractionGraph:
    rng = np.random.default_rng(0)
    pairs = rng.integers(0, 30, 200), rng.integers(0, 20, 200)
    return InteractionGraph.from_pairs(*pairs, 30, 20, self_loops=self_loops)


@pytest.fixture
def graph() -> InteractionGraph:
    return make_graph()


def make(name: str, **settings) -> Backbone:
    return make_backbone(name, make_graph(BACKBONES[name].self_loops), **settings)


def batch(graph: InteractionGraph) -> Batch:
    users, positives = graph.interactions()
    return Batch(users, positives, positives.flip(0))


@pytest.mark.parametrize("name", BACKBONES)
def test_the_initial_table_is_xavier_uniform_for_users_and_items_separately(name):
    model = make(name, dim=64)
    for part in model.split(model.embedding.detach()):
        bound = (6 / sum(part.shape)) ** 0.5
        assert part.abs().max() <= bound
        assert part.abs().max() > 0.98 * bound
        assert part.mean().abs() < 0.1 * bound


@pytest.mark.parametrize("name", BACKBONES)
def test_the_seed_alone_decides_the_initial_table(name):
    first = make(name, seed=1)
    torch.manual_seed(99)
    assert torch.equal(first.embedding, make(name, seed=1).embedding)
    assert not torch.equal(first.embedding, make(name, seed=2).embedding)


@pytest.mark.parametrize("name", BACKBONES)
def test_creating_from_settings_hands_over_what_the_constructor_names(name):
    kind = BACKBONES[name]
    settings = kind.parameters_and_defaults() | {"dim": 12, "reg_weight": 0.25, "batch_size": 10}
    model = kind.create(make_graph(kind.self_loops), settings)
    assert model.embedding.shape == (50, 12)
    assert model.reg_weight == 0.25


@pytest.mark.parametrize("name", BACKBONES)
def test_final_tables_have_no_dropout_and_no_gradient_and_keep_the_mode(name):
    model = make(name)
    for training in (True, False):
        model.train(training)
        users, items = model.final()
        assert model.training is training
        assert not users.requires_grad
        assert (len(users), len(items)) == (30, 20)
        assert all(torch.equal(a, b) for a, b in zip(model.final(), (users, items), strict=True))


@pytest.mark.parametrize("name", BACKBONES)
def test_a_loss_is_the_terms_of_the_views_and_reg(name):
    model = make(name)
    triplets = batch(model.graph)
    model.prepare(0, 5)
    views = model.views(model.embedding, 5)
    assert views[0].shape == (50, model.final_dim)
    assert model.final()[0].shape == (30, model.final_dim)
    terms, loss = model.terms(views, triplets), model.loss(triplets, 5)
    assert loss.keys() == terms.keys() | {"reg_loss"}
    assert all(torch.equal(loss[name], term) for name, term in terms.items())


@pytest.mark.parametrize("name", BACKBONES)
def test_a_step_that_looks_at_few_rows_has_the_gradients_of_one_that_looks_at_all(name):
    model = make(name, seed=2)
    some = Batch(*(column[3:40] for column in batch(model.graph)))
    model.prepare(0, 5)
    gradients = []
    for terms in (model.own_terms, lambda *args: Backbone.own_terms(model, *args)):
        model.prepare(1, 5)
        sum(terms(some, 5).values()).backward()
        gradients.append(model.embedding.grad)
        model.zero_grad(set_to_none=True)
    assert gradients[0].abs().sum() > 0
    assert torch.equal(*gradients)


def test_a_backbone_that_changes_the_terms_of_another_is_asked_for_them(graph):
    class Shifted(LightGCN):
        def terms(self, views, batch):
            return {"rec_loss": views[0].sum()}

    model = Shifted(graph)
    assert torch.equal(model.loss(batch(graph), 5)["rec_loss"], model(model.embedding, 5).sum())


@pytest.mark.parametrize("name", BACKBONES)
def test_an_alignment_is_shown_no_more_than_the_batch(name):
    model = make(name)
    triplets = batch(model.graph)
    seen = model.compared(triplets)
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


@pytest.mark.parametrize("name", BACKBONES)
def test_a_graph_of_another_kind_is_refused(name):
    kind = BACKBONES[name]
    asked = rf"graph must be built with self_loops={kind.self_loops} \(got {not kind.self_loops}\)"
    with pytest.raises(ValueError, match=f"{kind.__name__}: {asked}"):
        make_backbone(name, make_graph(not kind.self_loops))
