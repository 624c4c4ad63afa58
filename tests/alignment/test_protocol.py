"""Any alignment on any backbone: what a step gives, and what inference does not see."""

from __future__ import annotations

import pytest
import torch
from aligned import (
    ITEMS,
    KINDS,
    USERS,
    gradients,
    make_alignment,
    make_backbone,
    make_batch,
    make_model,
    make_text,
    total,
)
from helpers import same_bits

from rlmrec_fast.alignment import ALIGNMENTS, Recommender, Sizes

BOTH = pytest.mark.parametrize("align", ALIGNMENTS)
ANY = pytest.mark.parametrize("kind", KINDS)


@BOTH
@ANY
def test_a_step_gives_finite_terms_and_a_gradient_for_every_parameter(align, kind):
    model = make_model(align, kind)
    terms = model.loss(make_batch(), 3)
    names = {"rec_loss", "reg_loss", "infomax_loss"} | ({"cl_loss"} if kind == "views" else set())
    assert set(terms) == names
    assert all(term.shape == () and term.isfinite() and term > 0 for term in terms.values())
    for name, grad in gradients(model, total(terms)).items():
        assert grad.isfinite().all(), name
        assert grad.abs().max() > 0, name


@BOTH
def test_the_alignment_reaches_the_embeddings_and_all_of_its_own_parameters(align):
    model = make_model(align)
    grads = gradients(model, model.loss(make_batch(), 3)["infomax_loss"])
    assert all(grad.abs().max() > 0 for grad in grads.values())


@BOTH
@ANY
def test_reg_covers_every_parameter_of_both_parts(align, kind):
    model = make_model(align, kind)
    for parameter in model.alignment.parameters():
        parameter.data.add_(0.5)
    expected = sum(parameter.double().square().sum() for parameter in model.parameters())
    reg = model.loss(make_batch(), 0)["reg_loss"]
    assert reg.item() == pytest.approx(0.01 * expected.item(), rel=1e-6)
    names = {name.split(".")[0] for name, _ in model.named_parameters()}
    assert names == {"backbone", "alignment"}


@ANY
def test_without_an_alignment_the_loss_is_the_backbones_bit_by_bit(kind):
    backbone = make_backbone(kind)
    own, terms = backbone.loss(make_batch(), 5), Recommender(backbone).loss(make_batch(), 5)
    assert list(own) == list(terms)
    assert all(same_bits(own[name], terms[name]) for name in own)


def test_terms_of_the_same_name_are_added():
    model = make_model("contrastive", "views")
    views = model.backbone.views(model.backbone.embedding, 3)
    seen = model.backbone.compared(make_batch())
    expected = views[0].square().mean() + model.alignment.loss(views[0], seen, None)
    assert torch.equal(model.loss(make_batch(), 3)["infomax_loss"], expected)


@BOTH
def test_the_same_seed_gives_the_same_bits_for_any_number_of_threads(align):
    results = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        torch.manual_seed(threads)
        model = make_model(align)
        terms = model.loss(make_batch(), 3)
        results.append([*terms.values(), *gradients(model, total(terms)).values()])
    for others in results[1:]:
        assert all(map(same_bits, results[0], others))
    assert not same_bits(results[0][0], model.loss(make_batch(), 4)["rec_loss"])


@BOTH
@ANY
def test_final_tables_are_the_backbones_and_know_nothing_of_the_alignment(align, kind):
    model = make_model(align, kind)
    plain = make_backbone(kind)
    for table, expected in zip(model.final(), plain.final(), strict=True):
        assert same_bits(table, expected)
    assert [len(table) for table in model.final()] == [USERS, ITEMS]
    assert model.final()[0].shape[1] == model.backbone.final_dim


@BOTH
def test_checkpoints_hold_both_parts_but_not_the_texts(align):
    names = set(make_model(align).state_dict())
    projector = {f"alignment.projector.{n}" for n in ("weight1", "bias1", "weight2", "bias2")}
    token = {"alignment.mask_token"} if align == "generative" else set()
    assert names == {"backbone.embedding"} | projector | token


@BOTH
def test_the_projector_starts_xavier_uniform_from_its_own_seed(align):
    def projector(seed):
        backbone = make_backbone(dim=64)
        return make_alignment(align, backbone, torch.randn(54, 128), seed=seed).projector

    first = projector(1)
    for weight, bias in ((first.weight1, first.bias1), (first.weight2, first.bias2)):
        bound = (6 / sum(weight.shape)) ** 0.5
        assert 0.98 * bound < weight.abs().max() <= bound
        assert 0.8 * weight.shape[1] ** -0.5 < bias.abs().max() <= weight.shape[1] ** -0.5
    torch.manual_seed(99)
    assert same_bits(first.weight1, projector(1).weight1)
    assert not same_bits(first.weight1, projector(2).weight1)


@BOTH
def test_creating_from_settings_hands_over_what_the_constructor_names(align):
    backbone = make_backbone()
    whole = ALIGNMENTS[align].parameters_and_defaults()
    name = "kd_weight" if align == "contrastive" else "recon_weight"
    settings = whole | {name: 0.125, "batch_size": 10}
    created = ALIGNMENTS[align].create(make_text(), Sizes.of(backbone), settings)
    assert getattr(created, name) == 0.125
