"""The eager RLMRec that benchmarks compare with computes what the package computes, aligned too."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("scipy")

from bench import reference
from bench.data import Context
from rlmrec_fast import ops
from rlmrec_fast.alignment import Contrastive, Generative, Recommender, Sizes
from rlmrec_fast.backbones import LightGCN
from rlmrec_fast.backbones.base import Batch

DIM, WIDTH, SEED = 16, 24, 7
BACKBONE = {"dim": DIM, "num_layers": 2, "keep_rate": 0.8, "reg_weight": 1e-3}
CONTRASTIVE = {"kd_weight": 0.3, "kd_temperature": 0.2}
GENERATIVE = {"mask_ratio": 0.15, "recon_weight": 0.3, "recon_temperature": 0.5}


def our_model(align, graph, texts):
    backbone = LightGCN(graph, **BACKBONE)
    if align == "none":
        return Recommender(backbone)
    if align == "contrastive":
        return Recommender(backbone, Contrastive(texts, Sizes.of(backbone), **CONTRASTIVE))
    alignment = Generative(texts, Sizes.of(backbone), **GENERATIVE)
    # At zero, where it begins, the token would hide mistakes in what is multiplied by it.
    torch.nn.init.normal_(alignment.mask_token)
    return Recommender(backbone, alignment)


def eager_model(align, train, texts):
    adjacency = reference.normalized_adjacency(train, texts.dtype)
    parts = texts.split(list(train.shape))
    if align == "none":
        return reference.LightGCN(adjacency, *train.shape, **BACKBONE)
    if align == "contrastive":
        return reference.ContrastiveLightGCN(adjacency, *parts, **CONTRASTIVE, **BACKBONE)
    return reference.GenerativeLightGCN(adjacency, *parts, **GENERATIVE, **BACKBONE)


def counterparts(align, eager):
    """Our parameters' names, each with the eager parameters that it consists of."""
    pairs = {"backbone.embedding": [eager.user_embedding, eager.item_embedding]}
    if align != "none":
        for number, layer in enumerate((eager.projector[0], eager.projector[2]), start=1):
            pairs[f"alignment.projector.weight{number}"] = [layer.weight]
            pairs[f"alignment.projector.bias{number}"] = [layer.bias]
    if align == "generative":
        pairs["alignment.mask_token"] = [eager.mask_token]
    return pairs


@pytest.mark.parametrize("align", ["none", "contrastive", "generative"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_losses_and_gradients_agree_on_the_same_masks_and_batch(align, dtype, tolerance):
    context = Context("tiny", 1, compile=False)
    graph = context.graph
    texts = torch.randn(graph.num_nodes, WIDTH, generator=torch.Generator().manual_seed(1))
    ours = our_model(align, graph, texts).to(dtype).train()
    eager = eager_model(align, context.dataset.train, texts.to(dtype))
    parameters, pairs = dict(ours.named_parameters()), counterparts(align, eager)
    assert parameters.keys() == pairs.keys()
    with torch.no_grad():
        for name, parts in pairs.items():
            values = parameters[name].view(-1).split([part.numel() for part in parts])
            for part, value in zip(parts, values, strict=True):
                part.copy_(value.view_as(part))
    batch = Batch(*graph.interactions(), ops.sample_negatives(graph, 3))
    mask = ops.edge_mask(graph, BACKBONE["keep_rate"], SEED)
    given = {}
    if align == "generative":
        given["masked"] = ours.alignment.mask(ours.backbone.embedding, SEED)[1]

    terms = ours.loss(batch, SEED)
    torch.stack(list(terms.values())).sum().backward()
    total, eager_terms = eager.loss(*batch, mask, **given)
    total.backward()

    assert terms.keys() == eager_terms.keys()
    for name, term in eager_terms.items():
        torch.testing.assert_close(terms[name], term, rtol=tolerance, atol=0)
    for name, parts in pairs.items():
        gradient = torch.cat([part.grad.view(-1) for part in parts])
        error = (parameters[name].grad.view(-1) - gradient).norm() / gradient.norm()
        assert error <= tolerance, name
