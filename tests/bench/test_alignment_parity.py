"""The eager RLMRec that benchmarks compare with computes what the operators' formulas say."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("scipy")

from bench.data import Context
from bench.reference import (
    ContrastiveLightGCN,
    GenerativeLightGCN,
    LightGCN,
    normalized_adjacency,
)
from rlmrec_fast import ops
from rlmrec_fast.ops import reference

DIM, WIDTH, LAYERS, KEEP_RATE, SEED = 16, 24, 2, 0.8, 7
TOLERANCES = [(torch.float32, 1e-5), (torch.float64, 1e-10)]
CONTEXT = Context("tiny", 1, compile=False)
OPTIONS = {"dim": DIM, "num_layers": LAYERS, "keep_rate": KEEP_RATE, "reg_weight": 1e-3}


def eager_model(align, dtype):
    torch.manual_seed(5)
    adjacency = normalized_adjacency(CONTEXT.dataset.train, dtype)
    sizes = CONTEXT.dataset.train.shape
    if align == "none":
        return LightGCN(adjacency, *sizes, **OPTIONS)
    texts = [torch.randn(rows, WIDTH, dtype=dtype) for rows in sizes]
    if align == "contrastive":
        return ContrastiveLightGCN(adjacency, *texts, **OPTIONS, kd_weight=0.3)
    model = GenerativeLightGCN(adjacency, *texts, **OPTIONS, recon_weight=0.3)
    torch.nn.init.normal_(model.mask_token)
    return model


def formulas(model, align, batch, masked):
    graph = CONTEXT.graph
    ego = torch.cat([model.user_embedding, model.item_embedding])
    if align == "generative":
        ego = ego.index_put((masked,), model.mask_token.expand(len(masked), -1))
    table = reference.propagate(ego, graph, LAYERS, keep_rate=KEEP_RATE, seed=SEED)
    users, items = table.split([graph.num_users, graph.num_items])
    norms = torch.stack([reference.squared_norm(p) for p in model.parameters()])
    terms = {"rec_loss": reference.bpr_loss(users, items, *batch), "reg_loss": 1e-3 * norms.sum()}
    if align == "contrastive":
        user_texts, item_texts = map(model.projector, (model.user_texts, model.item_texts))
        losses = [
            reference.info_nce_by_id(users, user_texts, batch[0], 0.2, "all"),
            reference.info_nce_by_id(items, item_texts, batch[1], 0.2, "batch"),
            reference.info_nce_by_id(items, item_texts, batch[2], 0.2, "batch"),
        ]
        terms["infomax_loss"] = 0.3 * torch.stack(losses).sum() / len(batch[0])
    if align == "generative":
        loss = reference.reconstruction_loss(
            model.projector(table[masked]), model.texts[masked], 0.5
        )
        terms["infomax_loss"] = 0.3 * loss
    return terms


@pytest.mark.parametrize("align", ["none", "contrastive", "generative"])
@pytest.mark.parametrize(("dtype", "tolerance"), TOLERANCES)
def test_losses_and_gradients_agree_on_the_same_masks_and_batch(align, dtype, tolerance):
    graph = CONTEXT.graph
    model = eager_model(align, dtype)
    batch = (*graph.interactions(), ops.sample_negatives(graph, 3))
    masked = torch.randperm(graph.num_nodes)[: graph.num_nodes // 6]
    mask = ops.edge_mask(graph, KEEP_RATE, SEED)
    given = {"masked": masked} if align == "generative" else {}

    loss, terms = model.loss(*batch, mask, **given)
    expected = formulas(model, align, batch, masked)

    assert terms.keys() == expected.keys()
    for name, term in terms.items():
        torch.testing.assert_close(term, expected[name], rtol=tolerance, atol=0)
    parameters = dict(model.named_parameters())
    gradients = torch.autograd.grad(loss, parameters.values())
    truth = torch.autograd.grad(torch.stack(list(expected.values())).sum(), parameters.values())
    for name, gradient, true in zip(parameters, gradients, truth, strict=True):
        assert (gradient - true).norm() <= tolerance * true.norm(), name
