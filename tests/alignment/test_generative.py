from __future__ import annotations

import pytest
import torch
from aligned import (
    ITEMS,
    USERS,
    WIDTH,
    make_alignment,
    make_backbone,
    make_batch,
    make_model,
    make_text,
    projected,
)
from torch import Tensor

from rlmrec_fast.alignment import Generative, Sizes
from rlmrec_fast.alignment.generative import draw_nodes


def written_out(alignment: Generative, table: Tensor, rows: Tensor) -> Tensor:
    """recon from its formula."""
    x, y = projected(alignment, table[rows]), alignment.text[rows]
    x, y = (z / z.norm(dim=1, keepdim=True) for z in (x, y))
    logits = (x @ y.T / alignment.recon_temperature).exp()
    share = logits.diagonal() / (logits.sum(1) + 1e-8) + 1e-8
    return alignment.recon_weight * -share.log().mean()


@pytest.mark.parametrize("kind", ["lightgcn", "concatenated", "views"])
def test_loss_and_gradients_are_those_of_the_formula_in_float64(kind):
    model = make_model("generative", kind, mask_ratio=0.4, recon_weight=0.7).double()
    backbone, alignment = model.backbone, model.alignment
    results = []
    for way in ("ours", "formula"):
        model.zero_grad()
        if way == "ours":
            ego, rows = alignment.mask(backbone.embedding, 3)
            table = backbone.views(ego, 3)[0]
            loss = alignment.loss(table, make_batch(), rows)
        else:
            masked = torch.zeros(len(backbone.embedding), 1, dtype=torch.bool)
            masked[rows] = True
            ego = torch.where(masked, alignment.mask_token, backbone.embedding)
            loss = written_out(alignment, backbone.views(ego, 3)[0], rows)
        loss.backward()
        grads = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        results.append((loss.item(), grads))
    (ours, own), (expected, others) = results
    assert ours == pytest.approx(expected, rel=1e-12)
    assert own.keys() == others.keys()
    for name, grad in others.items():
        torch.testing.assert_close(own[name], grad, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("count", "ratio", "expected"), [(54, 0.15, 8), (5, 0.01, 1), (1, 0.5, 1), (100, 0.999, 99)]
)
def test_so_many_different_nodes_are_drawn(count, ratio, expected):
    for seed in range(20):
        rows = draw_nodes(count, ratio, seed)
        assert len(rows) == len(rows.unique()) == expected
        assert 0 <= rows.min() <= rows.max() < count


def test_the_seed_alone_decides_which():
    first = draw_nodes(1000, 0.2, 5)
    torch.manual_seed(99)
    torch.set_num_threads(1)
    assert torch.equal(first, draw_nodes(1000, 0.2, 5))
    assert not torch.equal(first.sort()[0], draw_nodes(1000, 0.2, 6).sort()[0])


def test_every_node_is_drawn_as_often_as_any_other():
    draws = 2000
    counts = torch.zeros(40)
    for seed in range(draws):
        counts[draw_nodes(40, 0.25, seed)] += 1
    # Mean 500, standard deviation 19.
    assert (counts - draws / 4).abs().max() < 5 * 19.4


def test_masked_rows_hold_the_token_and_the_others_are_untouched():
    backbone = make_backbone()
    alignment = make_alignment("generative", backbone, mask_ratio=0.3)
    assert torch.equal(alignment.mask_token, torch.zeros(6))
    alignment.mask_token.data.fill_(2.5)
    before = backbone.embedding.detach().clone()
    ego, rows = alignment.mask(backbone.embedding, 8)
    assert (ego[rows] == 2.5).all()
    others = torch.ones(len(ego), dtype=torch.bool)
    others[rows] = False
    assert torch.equal(ego[others], before[others])
    assert torch.equal(backbone.embedding, before)
    ego.sum().backward()
    assert (alignment.mask_token.grad == len(rows)).all()
    assert torch.equal(backbone.embedding.grad[:, 0], others.float())


def test_the_backbone_trains_on_the_masked_table():
    model = make_model("generative", mask_ratio=0.9)
    plain = model.backbone.loss(make_batch(), 3)["rec_loss"]
    assert model.loss(make_batch(), 3)["rec_loss"].item() != plain.item()


def test_the_widths_of_the_projector_are_those_of_the_paper():
    alignment = make_model("generative", "concatenated").alignment
    assert alignment.mask_token.shape == (6,)
    assert alignment.projector.weight1.shape == ((WIDTH + 12) // 2, 12)
    assert alignment.projector.weight2.shape == (WIDTH, (WIDTH + 12) // 2)


def test_a_masked_node_without_any_edge_has_a_direction_and_a_finite_gradient():
    model = make_model("generative", mask_ratio=0.99)
    model.backbone.keep_rate = 1e-9
    model.loss(make_batch(), 0)["infomax_loss"].backward()
    for parameter in model.parameters():
        assert parameter.grad.abs().max() < 1e3


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_texts_may_be_stored_in_any_float_type(dtype):
    backbone = make_backbone()
    text = make_text(torch.float16)
    losses = []
    for stored in (text.to(dtype), text.float()):
        alignment = make_alignment("generative", backbone, stored)
        rows = alignment.mask(backbone.embedding, 1)[1]
        losses.append(alignment.loss(torch.cat(backbone.final()), make_batch(), rows))
    assert torch.equal(*losses)


def test_bfloat16_products_change_the_loss_a_little():
    first, second = (
        make_model("generative", projector_dtype=dtype).loss(make_batch(), 0)["infomax_loss"]
        for dtype in ("float32", "bfloat16")
    )
    assert first.item() != second.item()
    assert second.item() == pytest.approx(first.item(), rel=1e-2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mask_ratio": 0.0}, r"mask_ratio must be in \(0, 1\) \(got 0.0\)"),
        ({"mask_ratio": 1.0}, r"mask_ratio must be in \(0, 1\) \(got 1.0\)"),
        ({"recon_weight": -1.0}, r"recon_weight must be >= 0 \(got -1.0\)"),
        ({"recon_temperature": 0.0}, r"recon_temperature must be > 0 \(got 0.0\)"),
        ({"text": torch.ones(54)}, r"must have two dimensions and 54 rows, .*got \(54,\)"),
    ],
)
def test_values_out_of_bounds_are_refused_by_name(settings, message):
    with pytest.raises(ValueError, match=f"Generative: .*{message}"):
        Generative(settings.pop("text", make_text()), Sizes(USERS, ITEMS, 6, 6), **settings)


def test_a_loss_without_masked_rows_is_refused():
    model = make_model("generative")
    with pytest.raises(ValueError, match=r"masked must be the rows that mask gave \(got None\)"):
        model.alignment.loss(torch.cat(model.final()), make_batch(), None)
