"""Twenty steps of training with the operators and with their references go the same way."""

from __future__ import annotations

import torch

from rlmrec_fast import ops
from rlmrec_fast.ops import reference


def train(library, graph, dtype) -> list[float]:
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(graph.num_nodes, 16, generator=generator, dtype=dtype).mul_(0.1)
    x.requires_grad_()
    optimizer = torch.optim.Adam([x], lr=0.02)
    users, positives = graph.interactions()
    losses = []
    for step in range(20):
        negatives = library.sample_negatives(graph, step)
        table = library.propagate(x, graph, 2, keep_rate=0.8, seed=step)
        first = graph.num_users
        loss = library.bpr_loss(table, None, users, positives + first, negatives + first)
        loss = loss + 1e-4 * library.squared_norm(x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_loss_curves_agree(random_graph):
    for dtype, tolerance in ((torch.float32, 1e-4), (torch.float64, 1e-10)):
        ours = torch.tensor(train(ops, random_graph, dtype))
        twin = torch.tensor(train(reference, random_graph, dtype))
        assert ours[-1] < 0.8 * ours[0]
        torch.testing.assert_close(ours, twin, rtol=tolerance, atol=0)
