from __future__ import annotations

import shutil

import pytest
from small_studies import small_grid, train

from rlmrec_fast.reproduce.grid import Source, find_elsewhere, find_result, make_grid


def test_a_grid_has_every_cell_once_and_ends_a_seed_before_the_next(data, tmp_path) -> None:
    cells = small_grid(data, tmp_path, ("lightgcn", "gccf"), ("none", "generative"), (7, 3))
    assert [cell.name for cell in cells] == [
        f"toy-{model}{align}-{seed}"
        for seed in (7, 3)
        for model in ("lightgcn", "gccf")
        for align in ("", "-generative")
    ]
    assert len({cell.path for cell in cells}) == 8
    assert all(cell.path == tmp_path / cell.name for cell in cells)
    assert {cell.settings.max_epochs for cell in cells} == {4}


def test_a_setting_is_told_to_the_models_that_have_it(data, tmp_path) -> None:
    source = Source.load(data, "steam")
    cells = make_grid(
        [source],
        ["lightgcn", "gccf"],
        ["none", "contrastive"],
        [1],
        {"projector_dtype": "bfloat16", "keep_rate": "0.5"},
        tmp_path,
    )
    told = {cell.name: (cell.settings.projector_dtype, cell.settings.keep_rate) for cell in cells}
    assert told == {
        "toy-lightgcn-1": (None, 0.5),
        "toy-lightgcn-contrastive-1": ("bfloat16", 0.5),
        "toy-gccf-1": (None, None),
        "toy-gccf-contrastive-1": ("bfloat16", None),
    }
    assert cells[0].settings.num_layers == 2, "the preset is steam's"
    with pytest.raises(ValueError, match="--set: no model of the grid has noise"):
        make_grid([source], ["gccf"], ["none"], [1], {"noise": "0.1"}, tmp_path)


@pytest.mark.parametrize(
    ("models", "aligns", "seeds", "message"),
    [
        (("lightgcn", "lightgcn"), ("none",), (1,), "--models must name each thing once"),
        (("lightgcn",), (), (1,), r"--align must name each thing once \(got nothing\)"),
        (("lightgcn",), ("none",), (1, 1), r"--seeds must name each thing once \(got 1 1\)"),
        (("gru",), ("none",), (1,), "model must be one of"),
        (("lightgcn",), ("con",), (1,), "align must be one of none, contrastive, generative"),
        (("lightgcn",), ("none",), (-1,), "seed must be greater than or equal to 0"),
    ],
)
def test_a_wrong_grid_is_refused(data, tmp_path, models, aligns, seeds, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small_grid(data, tmp_path, models, aligns, seeds)


def test_finished_runs_are_found_wherever_they_are(data, trained, tmp_path) -> None:
    cells = small_grid(data, tmp_path)
    assert [find_result(cell) for cell in cells] == [None] * 4
    found, notes = find_elsewhere(cells, [trained[0].path.parent])
    assert not notes
    assert {name: run.path for name, run in found.items()} == {
        cell.name: cell.path for cell in trained
    }
    one, _ = find_elsewhere(cells, [trained[2].path])
    assert list(one) == [trained[2].name]
    shutil.copytree(trained[0].path, cells[0].path)
    own = find_result(cells[0])
    assert own is not None
    assert own.result == found[cells[0].name].result
    (cells[0].path / "result.json").unlink()
    assert find_result(cells[0]) is None
    assert find_elsewhere(cells, [cells[0].path]) == ({}, [])
    with pytest.raises(FileNotFoundError, match="--runs must name folders"):
        find_elsewhere(cells, [tmp_path / "nowhere"])


def test_runs_with_other_settings_do_not_serve(data, tmp_path) -> None:
    cells = small_grid(data, tmp_path / "study", aligns=("none",), seeds=(1,))
    other = train(cells[0], tmp_path / "other", "--set", "reg_weight=0.5")
    found, notes = find_elsewhere(cells, [other])
    assert not found
    assert notes == [f"{other} does not serve as toy-lightgcn-1: another reg_weight"]
    shutil.copytree(other, cells[0].path)
    with pytest.raises(ValueError, match=r"must hold a run .* \(got another reg_weight\)"):
        find_result(cells[0])
