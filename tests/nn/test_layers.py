from __future__ import annotations

import pytest
import torch

from rlmrec_fast import ops
from rlmrec_fast.nn import BPRLoss, Propagation


def tables(graph, d=6):
    return (
        torch.randn(graph.num_users, d, requires_grad=True),
        torch.randn(graph.num_items, d, requires_grad=True),
    )


def test_propagation_in_evaluation_mode_is_the_operator_without_dropout(random_graph):
    layer = Propagation(random_graph, 3, combine="mean", keep_rate=0.5).eval()
    users, items = tables(random_graph)
    found = layer(users, items)
    expected = ops.propagate(torch.cat([users, items]), random_graph, 3, combine="mean")
    assert torch.equal(torch.cat(found), expected)
    assert [part.shape[0] for part in found] == [random_graph.num_users, random_graph.num_items]


def test_propagation_drops_anew_in_training_and_repeats_with_the_seed_of_torch(random_graph):
    layer = Propagation(random_graph, 2, keep_rate=0.5)
    pair = tables(random_graph)
    torch.manual_seed(3)
    first, second = torch.cat(layer(*pair)), torch.cat(layer(*pair))
    assert not torch.equal(first, second)
    torch.manual_seed(3)
    assert torch.equal(torch.cat(layer(*pair)), first)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_the_loss_is_the_operator(reduction, random_graph):
    users, items = tables(random_graph)
    ids = torch.tensor([0, 3, 3]), torch.tensor([1, 2, 2]), torch.tensor([4, 4, 0])
    loss = BPRLoss(reduction)(users, items, *ids)
    assert torch.equal(loss, ops.bpr_loss(users, items, *ids, reduction=reduction))


def test_the_two_train_together(random_graph):
    users, items = tables(random_graph)
    layer, loss = Propagation(random_graph, 2, keep_rate=0.8), BPRLoss()
    batch_users, positives = random_graph.interactions()
    negatives = ops.sample_negatives(random_graph, 1)
    optimizer = torch.optim.Adam([users, items], lr=0.05)
    values = []
    for _ in range(30):
        value = loss(*layer(users, items), batch_users, positives, negatives)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert values[-1] < 0.5 * values[0]


def test_the_layer_shows_what_it_does(random_graph):
    shown = repr(Propagation(random_graph, 3, keep_rate=0.8))
    assert "num_layers=3" in shown
    assert "keep_rate=0.8" in shown
