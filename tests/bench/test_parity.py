"""The eager RLMRec that benchmarks compare with computes what the package computes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("scipy")

from bench import reference
from bench.data import Context
from bench.reference.autocf import Draws
from rlmrec_fast import ops
from rlmrec_fast.backbones import BACKBONES, Batch
from rlmrec_fast.backbones.autocf import _GRAPHS, _SCORES
from rlmrec_fast.backbones.sgl import layer_seed, node_mask
from rlmrec_fast.backbones.views import view_seed
from rlmrec_fast.ops.random import bounded, child_seed, child_seeds
from rlmrec_fast.ops.reference import edge_rows, gumbel_noise, uniform_noise
from rlmrec_fast.training.model import create_model
from rlmrec_fast.training.settings import Settings

SEED, WIDTH, LAYERS = 7, 24, 2
CHANGES = {
    "dim": 16,
    "num_layers": LAYERS,
    "reg_weight": 1e-3,
    "cl_weight": 0.3,
    "kd_weight": 0.3,
    "recon_weight": 0.3,
    "num_heads": 2,
    "seed_num": 5,
    "num_intents": 6,
}
ALIGNS = pytest.mark.parametrize("align", ["none", *reference.ALIGNMENTS])
PRECISIONS = pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)], ids=["fp32", "fp64"]
)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Work so small gains nothing from two, and loses much where the machine is shared."""
    torch.set_num_threads(1)


def of_sgl(backbone):
    graph, keep_rate = backbone.graph, backbone.keep_rate
    drawn = []
    for seed in (view_seed(SEED, view) for view in (1, 2)):
        if backbone.augmentation == "edge_drop":
            drawn.append(ops.edge_mask(graph, keep_rate, seed))
        elif backbone.augmentation == "node_drop":
            drawn.append(node_mask(graph.num_nodes, keep_rate, seed)[:, 0])
        else:
            seeds = [layer_seed(seed, layer) for layer in range(LAYERS)]
            drawn.append([ops.edge_mask(graph, keep_rate, own) for own in seeds])
    return drawn


def of_simgcl(backbone):
    shape, layers = backbone.embedding.shape, range(1, LAYERS + 1)
    seeds = [[child_seed(view_seed(SEED, view), layer) for layer in layers] for view in (1, 2)]
    return [[uniform_noise(*shape, seed) for seed in view] for view in seeds]


def of_autocf(backbone):
    noise, words = (ops.derive_seed(SEED, number) for number in (_SCORES, _GRAPHS))

    def nodes(bound, count):
        return bounded(child_seeds(child_seed(words, 0), torch.arange(count)), bound)

    def ends(bound, count):
        drawn = child_seeds(child_seed(words, 1), torch.arange(2 * count))
        return bounded(drawn, bound).view(-1, 2).T

    return Draws(gumbel_noise(backbone.graph.num_nodes, noise), nodes, ends)


# What our model draws in a step, in the form that its counterpart takes.
DRAWN = {
    "lightgcn": lambda backbone: ops.edge_mask(backbone.graph, backbone.keep_rate, SEED),
    "gccf": lambda _: None,
    "sgl": of_sgl,
    "simgcl": of_simgcl,
    "autocf": of_autocf,
    "dccf": lambda _: None,
}
NAMES = pytest.mark.parametrize("name", DRAWN)


def make_settings(name: str, align: str, **changes) -> Settings:
    known = Settings.of(name, align).used()
    chosen = {key: value for key, value in CHANGES.items() if key in known}
    return Settings.of(name, align, changes=chosen | changes)


def make_pair(settings: Settings, dtype: torch.dtype):
    """Our model and its counterpart with the same parameters."""
    context = Context("tiny", 1, compile=False)
    users, items = (
        torch.randn(size, WIDTH, generator=torch.Generator().manual_seed(size))
        for size in context.dataset.train.shape
    )
    dataset = replace(context.dataset, user_vectors=users.numpy(), item_vectors=items.numpy())
    ours = create_model(settings, dataset).to(dtype).train()
    if settings.align == "generative":
        # At zero, where it begins, the token would hide mistakes in what is multiplied by it. Far
        # from it, scores differ by more than 20, from where on F.softplus is an approximation.
        torch.nn.init.normal_(ours.alignment.mask_token, std=0.1)
    eager = reference.create_model(settings.used(), dataset.train, (users, items), dtype)
    parameters, pairs = dict(ours.named_parameters()), counterparts(eager)
    assert parameters.keys() == pairs.keys()
    assert sum(map(len, pairs.values())) == len(list(eager.parameters()))
    with torch.no_grad():
        for name, parts in pairs.items():
            values = parameters[name].view(-1).split([part.numel() for part in parts])
            for part, value in zip(parts, values, strict=True):
                part.copy_(value.view_as(part))
    return ours, eager


def counterparts(eager):
    """Our parameters' names, each with the eager parameters that it consists of."""
    pairs = eager.counterparts()
    if isinstance(eager, reference.Backbone):
        return {f"backbone.{name}": parts for name, parts in pairs.items()}
    return pairs


def check_agreement(settings: Settings, dtype: torch.dtype, tolerance: float) -> None:
    ours, eager = make_pair(settings, dtype)
    graph = ours.graph
    batch = Batch(*graph.interactions(), ops.sample_negatives(graph, 3))
    given = {"drawn": DRAWN[settings.model](ours.backbone)}
    if settings.align == "generative":
        given["masked"] = ours.alignment.mask(ours.backbone.embedding, SEED)[1]

    terms = ours.loss(batch, SEED)
    torch.stack(list(terms.values())).sum().backward()
    total, eager_terms = eager.loss(*batch, **given)
    total.backward()

    assert terms.keys() == eager_terms.keys()
    for name, term in eager_terms.items():
        torch.testing.assert_close(terms[name], term, rtol=tolerance, atol=0)
    parameters = dict(ours.named_parameters())
    for name, parts in counterparts(eager).items():
        gradient = torch.cat([part.grad.view(-1) for part in parts])
        error = (parameters[name].grad.view(-1) - gradient).norm() / gradient.norm()
        assert error <= tolerance, name


def test_every_backbone_has_a_counterpart():
    assert reference.BACKBONES.keys() == BACKBONES.keys() == DRAWN.keys()


@NAMES
@ALIGNS
@PRECISIONS
def test_losses_and_gradients_agree_on_what_was_drawn(name, align, dtype, tolerance):
    check_agreement(make_settings(name, align), dtype, tolerance)


@pytest.mark.parametrize("augmentation", ["node_drop", "random_walk"])
@PRECISIONS
def test_other_augmentations_of_sgl_agree_too(augmentation, dtype, tolerance):
    settings = make_settings("sgl", "none", augmentation=augmentation, keep_rate=0.6)
    check_agreement(settings, dtype, tolerance)


@pytest.mark.parametrize("mask_depth", [1, 2, 3])
def test_graphs_of_autocf_are_equal_when_the_random_numbers_are(mask_depth):
    settings = make_settings("autocf", "none", mask_depth=mask_depth, seed_num=2)
    ours, eager = make_pair(settings, torch.float64)
    ours.backbone.prepare(0, SEED)
    eager.redraw(of_autocf(ours.backbone))
    encoder, decoder = ours.backbone._graphs
    assert (encoder.num_interactions > 0) is (mask_depth < 3)
    assert encoder.num_interactions < ours.graph.num_interactions
    for graph, adjacency in ((encoder, eager.encoder), (decoder, eager.decoder)):
        expected = torch.stack([edge_rows(graph), graph.columns.long()])
        assert torch.equal(adjacency.coalesce().indices(), expected)


@NAMES
@ALIGNS
def test_a_counterpart_draws_by_itself_and_its_loss_falls(name, align):
    _, eager = make_pair(make_settings(name, align), torch.float32)
    graph = Context("tiny", 1, compile=False).graph
    batch = (*graph.interactions(), ops.sample_negatives(graph, 3))
    optimizer = reference.optimizer_for(eager, 0.01)
    losses = []
    for _ in range(20):
        # The same draws in every step: other ones can move the loss more than 20 steps do.
        torch.manual_seed(SEED)
        np.random.seed(SEED)  # noqa: NPY002
        losses.append(sum(reference.train_step(eager, optimizer, batch).values()))
    assert losses[-1] < losses[0]
