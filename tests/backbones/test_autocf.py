from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from graph_checks import assert_same

from rlmrec_fast import SymmetricGraph, ops
from rlmrec_fast.backbones import AutoCF, Batch
from rlmrec_fast.graph import InteractionGraph
from rlmrec_fast.ops.reference import edge_rows

USERS, ITEMS, NODES = 13, 9, 22


@pytest.fixture
def graph() -> InteractionGraph:
    matrix = np.random.default_rng(3).random((USERS, ITEMS)) < 0.3
    matrix[4] = False  # a user without interactions
    matrix[:, 7] = False  # an item without interactions
    return InteractionGraph.from_pairs(*matrix.nonzero(), USERS, ITEMS)


@pytest.fixture
def batch() -> Batch:
    rng = torch.Generator().manual_seed(1)
    return Batch(*(torch.randint(size, (40,), generator=rng) for size in (USERS, ITEMS, ITEMS)))


def make(graph: InteractionGraph, **changes) -> AutoCF:
    settings = {"dim": 6, "num_heads": 2, "seed_num": 2, "mask_depth": 1, "reg_weight": 0.01}
    return AutoCF(graph, **settings | changes).double()


def dense(graph: InteractionGraph | SymmetricGraph) -> torch.Tensor:
    matrix = torch.zeros(graph.num_nodes, graph.num_nodes, dtype=torch.float64)
    matrix[edge_rows(graph), graph.columns.long()] = 1
    return matrix


def dense_final(encoder, decoder, ego, attention, num_layers, heads):
    """The sum of all layers, from the definition."""
    adjacency = dense(encoder)
    scale = adjacency.sum(1).clamp(min=1).rsqrt()
    layers = [ego]
    for _ in range(num_layers):
        layers.append((scale[:, None] * adjacency * scale) @ layers[-1])
    for matrices in attention:
        parts = ((layers[-1] @ matrix).chunk(heads, dim=1) for matrix in matrices)
        outputs = []
        for query, key, value in zip(*parts, strict=True):
            weights = (query @ key.T).clamp(-10, 10).exp() * dense(decoder)
            outputs.append(weights @ value / (weights.sum(1, keepdim=True) + 1e-8))
        layers.append(torch.cat(outputs, 1))
    return sum(layers)


@pytest.mark.parametrize("num_layers", [0, 2])
@pytest.mark.parametrize("transformer_layers", [1, 2])
def test_loss_and_gradients_equal_a_dense_computation(graph, batch, num_layers, transformer_layers):
    model = make(graph, num_layers=num_layers, transformer_layers=transformer_layers, ssl_reg=0.7)
    model.prepare(0, 5)
    encoder, decoder = model._graphs
    views = model.views(model.embedding, 5)
    terms = model.terms(views, batch)
    (terms["rec_loss"] + 3 * terms["cl_loss"]).backward()

    ego, attention = (x.detach().clone().requires_grad_() for x in model.parameters())
    table = dense_final(encoder, decoder, ego, attention, num_layers, 2)
    torch.testing.assert_close(views[0], table)
    users, items = table.split([USERS, ITEMS])
    rec = -(users[batch.users] * items[batch.positives]).sum(1).mean()
    to_users = (users[batch.users.unique()] @ users.T).logsumexp(1).mean()
    to_items = (items[batch.positives.unique()] @ items.T).logsumexp(1).mean()
    crossed = (users[batch.users] @ items.T).logsumexp(1).mean()
    cl = 0.7 * (to_users + to_items) + crossed
    (rec + 3 * cl).backward()
    assert terms.keys() == {"rec_loss", "cl_loss", "infomax_loss"}
    torch.testing.assert_close(terms["rec_loss"], rec)
    torch.testing.assert_close(terms["cl_loss"], cl)
    torch.testing.assert_close(model.embedding.grad, ego.grad)
    torch.testing.assert_close(model.attention.grad, attention.grad)


def test_infomax_is_the_mean_score_of_the_table_without_masks(graph, batch):
    model = make(graph)
    model.prepare(0, 5)
    ego = torch.zeros(NODES, 6, dtype=torch.float64)
    model.terms(model.views(ego, 5), batch)["infomax_loss"].backward()
    found = model.embedding.grad.clone()
    model.embedding.grad = None
    _, scores = ops.draw_seeds(model.embedding, graph, 2, 0)
    scores.mean().neg().backward()
    torch.testing.assert_close(found, model.embedding.grad)  # noise has no gradient
    assert model.attention.grad is None


def test_graphs_are_drawn_at_the_first_step_and_every_tenth(graph, batch):
    model = make(graph, fix_steps=10)
    drawn = []
    for step in range(25):
        terms = model.loss(batch, 100 + step, step)
        assert ("infomax_loss" in terms) is (step % 10 == 0)
        if not drawn or model._graphs is not drawn[-1][1]:
            drawn.append((step, model._graphs))
    assert [step for step, _ in drawn] == [0, 10, 20]
    first, second = (graphs[1].columns for _, graphs in drawn[:2])
    assert first.shape != second.shape or not torch.equal(first, second)
    assert all(graphs[0].num_interactions < graph.num_interactions for _, graphs in drawn)


def test_a_pass_without_prepare_draws_once(graph, batch):
    model, prepared = make(graph), make(graph)
    terms = model.terms(model.views(model.embedding, 5), batch)
    prepared.prepare(0, 5)
    again = prepared.terms(prepared.views(prepared.embedding, 5), batch)
    assert all(torch.equal(terms[name], again[name]) for name in terms)
    kept = model._graphs
    assert "infomax_loss" not in model.terms(model.views(model.embedding, 6), batch)
    assert model._graphs is kept


def test_a_forgotten_view_leaves_no_term_to_the_next_step(graph, batch):
    model = make(graph)
    model.prepare(0, 5)
    assert "infomax_loss" not in model.loss(batch, 6, 1)


def test_evaluation_uses_the_interactions_for_both_graphs_and_draws_nothing(graph, batch):
    model = make(graph)
    expected = dense_final(graph, graph, model.embedding, model.attention, 2, 2)
    torch.testing.assert_close(torch.cat(model.final()), expected.detach())
    model.eval()
    assert "infomax_loss" not in model.loss(batch, 5)
    assert model._graphs is None
    model.train()
    model.loss(batch, 5)
    torch.testing.assert_close(torch.cat(model.final()), expected.detach())


def test_more_seeds_than_nodes_mask_everything(batch):
    graph = InteractionGraph.from_pairs([0, 1], [0, 0], 2, 1)
    model = make(graph, seed_num=100)
    model.prepare(0, 1)
    encoder, decoder = model._graphs
    assert encoder.num_interactions == 0
    assert_same(decoder, SymmetricGraph.from_csr(decoder.offsets, decoder.columns))
    zero = torch.zeros(3, dtype=torch.int64)
    terms = model.loss(Batch(torch.tensor([0, 1, 1]), zero, zero), 1)
    assert all(term.isfinite() for term in terms.values())


def test_alignments_are_shown_no_negatives(graph, batch):
    seen = make(graph).compared(batch)
    assert torch.equal(seen.users, batch.users)
    assert torch.equal(seen.positives, batch.positives)
    assert len(seen.negatives) == 0


def test_attention_is_xavier_uniform_matrix_by_matrix(graph):
    attention = AutoCF(graph, dim=64, transformer_layers=2, seed=1).attention.detach()
    assert attention.shape == (2, 3, 64, 64)
    bound = (6 / 128) ** 0.5
    for matrix in attention.view(-1, 64, 64):
        assert 0.98 * bound < matrix.abs().max() <= bound
    assert not F.cosine_similarity(attention[0, 0].view(1, -1), attention[0, 1].view(1, -1)) > 0.1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_layers": -1}, r"num_layers must be >= 0 \(got -1\)"),
        ({"keep_rate": 0.0}, r"keep_rate must be in \(0, 1\] \(got 0.0\)"),
        ({"keep_rate": float("nan")}, r"keep_rate must be in \(0, 1\] \(got nan\)"),
        ({"ssl_reg": -1.0}, r"ssl_reg must be >= 0 \(got -1.0\)"),
        ({"num_heads": 4}, r"num_heads must divide dim 6 \(got 4\)"),
        *[
            ({name: 0}, rf"{name} must be at least 1 \(got 0\)")
            for name in ("transformer_layers", "num_heads", "seed_num", "mask_depth", "fix_steps")
        ],
    ],
)
def test_values_out_of_bounds_are_refused_by_name(graph, settings, message):
    with pytest.raises(ValueError, match=f"AutoCF: {message}"):
        make(graph, **settings)
