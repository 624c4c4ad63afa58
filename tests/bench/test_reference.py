"""The eager twin that benchmarks compare with computes what the package computes."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("scipy")

from bench.data import Context
from bench.reference.model import LightGCN as EagerLightGCN
from bench.reference.model import normalized_adjacency
from rlmrec_fast import ops
from rlmrec_fast.backbones import LightGCN
from rlmrec_fast.backbones.base import Batch


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_losses_and_gradients_agree_on_the_same_mask_and_batch(dtype, tolerance):
    context = Context("tiny", 1, compile=False)
    graph = context.graph
    ours = LightGCN(graph, dim=16, num_layers=3, keep_rate=0.8, reg_weight=1e-3, seed=5).to(dtype)
    adjacency = normalized_adjacency(context.dataset.train, dtype)
    eager = EagerLightGCN(adjacency, graph.num_users, graph.num_items, 16, 3, 0.8, 1e-3)
    users, items = ours.split(ours.embedding.detach())
    with torch.no_grad():
        eager.user_embedding.copy_(users)
        eager.item_embedding.copy_(items)
    batch = Batch(*graph.interactions(), ops.sample_negatives(graph, 3))
    mask = ops.edge_mask(graph, 0.8, 7)

    terms = ours.train().loss(batch, 7)
    sum(terms.values()).backward()
    total, eager_terms = eager.loss(*batch, mask)
    total.backward()

    for name, term in eager_terms.items():
        torch.testing.assert_close(terms[name], term, rtol=tolerance, atol=0)
    gradient = torch.cat([eager.user_embedding.grad, eager.item_embedding.grad])
    error = (ours.embedding.grad - gradient).norm() / gradient.norm()
    assert error <= tolerance
