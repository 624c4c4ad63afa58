from __future__ import annotations

import pytest
import torch
from aligned import (
    ITEMS,
    USERS,
    gradients,
    make_alignment,
    make_backbone,
    make_batch,
    make_model,
    make_text,
    projected,
)
from torch import Tensor

from rlmrec_fast.alignment import Contrastive, Sizes


def written_out(alignment: Contrastive, table: Tensor, batch) -> Tensor:
    """kd from its formula: every row of the batch by itself, the whole of the texts projected."""

    def unit(x: Tensor) -> Tensor:
        return x / (1e-8 + (x * x).sum(1, keepdim=True)).sqrt()

    def info_nce(q: Tensor, k: Tensor, candidates: Tensor) -> Tensor:
        tau = alignment.kd_temperature
        own = (unit(q) * unit(k)).sum(1) / tau
        everything = (unit(q) @ unit(candidates).T / tau).exp().sum(1).log()
        return (everything - own).sum()

    text = projected(alignment, alignment.text)
    terms = [info_nce(table[batch.users], text[batch.users], text[:USERS])]
    for items in (batch.positives, batch.negatives):
        rows = items + USERS
        if len(rows):
            terms.append(info_nce(table[rows], text[rows], text[rows]))
    return alignment.kd_weight / len(batch.users) * sum(terms)


@pytest.mark.parametrize("kind", ["lightgcn", "concatenated", "views"])
def test_loss_and_gradients_are_those_of_the_formula_in_float64(kind):
    model, batch = make_model("contrastive", kind, kd_weight=0.7).double(), make_batch()
    backbone, alignment = model.backbone, model.alignment
    table = backbone.views(backbone.embedding, 3)[0]
    seen = backbone.compared(batch)
    pairs = [
        (loss(table, seen), gradients_of(model, loss, seen))
        for loss in (
            lambda table, batch: alignment.loss(table, batch, None),
            lambda table, batch: written_out(alignment, table, batch),
        )
    ]
    (ours, own), (expected, others) = pairs
    assert ours.item() == pytest.approx(expected.item(), rel=1e-12)
    for name, grad in others.items():
        torch.testing.assert_close(own[name], grad, rtol=1e-9, atol=1e-12)


def gradients_of(model, loss, batch) -> dict[str, Tensor]:
    model.zero_grad()
    loss(model.backbone.views(model.backbone.embedding, 3)[0], batch).backward()
    return {
        name: parameter.grad.clone()
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }


def test_the_widths_of_the_projector_are_those_of_the_paper():
    alignment = make_model("contrastive", "concatenated").alignment
    assert alignment.projector.weight1.shape == ((13 + 12) // 2, 13)
    assert alignment.projector.weight2.shape == (12, (13 + 12) // 2)


def test_only_rows_in_use_are_projected(monkeypatch):
    model, batch = make_model("contrastive"), make_batch()
    counts = []
    project = type(model.alignment.projector).forward

    def spy(self, vectors, rows=None):
        counts.append(len(vectors) if rows is None else len(rows))
        return project(self, vectors, rows)

    monkeypatch.setattr(type(model.alignment.projector), "forward", spy)
    model.loss(batch, 0)
    items = torch.cat([batch.positives, batch.negatives]).unique()
    assert counts == [USERS, len(items)]


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_texts_may_be_stored_in_any_float_type(dtype):
    backbone = make_backbone()
    text = make_text(torch.float16)
    losses = []
    for stored in (text.to(dtype), text.float()):
        alignment = make_alignment("contrastive", backbone, stored)
        losses.append(alignment.loss(torch.cat(backbone.final()), make_batch(), None))
    assert torch.equal(*losses)


def test_bfloat16_products_change_the_loss_a_little_and_halve_the_table():
    exact = make_model("contrastive")
    rough = make_model("contrastive", projector_dtype="bfloat16")
    assert rough.alignment.text.dtype == torch.bfloat16
    first, second = (model.loss(make_batch(), 0)["infomax_loss"] for model in (exact, rough))
    assert second.dtype == torch.float32
    assert first.item() != second.item()
    assert second.item() == pytest.approx(first.item(), rel=1e-2)
    assert all(grad.isfinite().all() for grad in gradients(rough, second + 0).values())


def test_zero_vectors_give_finite_gradients():
    text = make_text()
    text[[0, USERS, USERS + 1]] = 0
    backbone = make_backbone()
    alignment = make_alignment("contrastive", backbone, text)
    alignment.loss(torch.cat(backbone.final()), make_batch(), None).backward()
    assert all(parameter.grad.isfinite().all() for parameter in alignment.parameters())


def test_nothing_is_masked():
    backbone = make_backbone()
    ego, masked = make_alignment("contrastive", backbone).mask(backbone.embedding, 3)
    assert ego is backbone.embedding
    assert masked is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kd_weight": -0.1}, r"Contrastive: kd_weight must be >= 0 \(got -0.1\)"),
        ({"kd_temperature": 0.0}, r"Contrastive: kd_temperature must be > 0 \(got 0.0\)"),
        (
            {"projector_dtype": "int8"},
            r"projector_dtype must be one of float32, bfloat16 \(got int8",
        ),
        ({"text": torch.ones(5, 3)}, r"must have two dimensions and 54 rows, .*got \(5, 3\)"),
    ],
)
def test_values_out_of_bounds_are_refused_by_name(settings, message):
    with pytest.raises(ValueError, match=message):
        Contrastive(settings.pop("text", make_text()), Sizes(USERS, ITEMS, 6, 6), **settings)
