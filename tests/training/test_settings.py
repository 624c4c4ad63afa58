from __future__ import annotations

import pytest
from pydantic import ValidationError

from rlmrec_fast.training.settings import Settings, parse_changes


def test_text_is_converted_to_the_type_of_its_setting():
    settings = Settings.of("lightgcn", changes={"dim": "64", "keep_rate": "0.5", "seed": "7"})
    assert (settings.dim, settings.keep_rate, settings.seed) == (64, 0.5, 7)
    assert settings.reg_weight == 1e-6


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dim", 0),
        ("dim", "2.5"),
        ("dim", "many"),
        ("num_layers", -1),
        ("keep_rate", 0),
        ("keep_rate", 1.01),
        ("keep_rate", "nan"),
        ("reg_weight", -1e-9),
        ("reg_weight", "inf"),
        ("batch_size", 0),
        ("learning_rate", 0),
        ("max_epochs", 0),
        ("eval_every", 0),
        ("patience", 0),
        ("seed", -1),
        ("seed", 2**63),
        ("align", "both"),
    ],
)
def test_values_out_of_bounds_are_refused_by_name(name, value):
    values = Settings.of("lightgcn").used() | {name: value}
    with pytest.raises(ValueError, match=rf"^Settings: {name} .*must be .*\(got {value!r}\)$"):
        Settings.checked(values)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dim", 1),
        ("num_layers", 0),
        ("keep_rate", 1),
        ("keep_rate", 1e-6),
        ("reg_weight", 0),
        ("batch_size", 1),
        ("seed", 2**63 - 1),
    ],
)
def test_values_at_the_bounds_are_accepted(name, value):
    assert getattr(Settings.of("lightgcn", changes={name: value}), name) == value


def test_an_unknown_setting_is_refused_with_the_nearest_one():
    with pytest.raises(ValueError, match=r"got 'layers'; did you mean num_layers\?"):
        Settings.of("lightgcn", changes={"layers": 2})


def test_settings_of_another_model_are_refused():
    with pytest.raises(ValueError, match="cl_weight must not be set for lightgcn with align none"):
        Settings.of("lightgcn", changes={"cl_weight": 0.1})
    without = Settings.of("sgl").used()
    del without["cl_weight"]
    with pytest.raises(ValueError, match="cl_weight must be set for sgl with align none"):
        Settings.checked(without)


def test_a_missing_setting_is_named():
    values = Settings.of("lightgcn").used()
    del values["dim"]
    with pytest.raises(ValueError, match="Settings: dim must be given"):
        Settings.checked(values)


def test_settings_cannot_be_changed_in_place():
    with pytest.raises(ValidationError, match="frozen"):
        Settings.of("lightgcn").dim = 3


def test_the_digest_differs_between_different_settings_only():
    digests = {
        Settings.of("lightgcn", changes=changes).digest()
        for changes in ({}, {"seed": 2023}, {"seed": 1}, {"dim": 33}, {"reg_weight": 1.1e-6})
    }
    assert len(digests) == 4


def test_changes_are_read_from_text():
    assert parse_changes(["dim=64", " reg_weight = 1e-5 "]) == {"dim": "64", "reg_weight": "1e-5"}


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["dim"], r"must be given as key=value \(got 'dim'\)"),
        (["dimm=3"], r"got 'dimm'; did you mean dim\?"),
        (["dim=3", "dim=4"], r"dim must be given once \(got 'dim=4' as well\)"),
        (["=3"], r"the setting must be one of model, align, dim"),
    ],
)
def test_unreadable_changes_are_refused(texts, message):
    with pytest.raises(ValueError, match=message):
        parse_changes(texts)


@pytest.mark.parametrize("align", ["contrastive", "generative"])
def test_the_projectors_type_is_a_setting_of_alignments_alone(align):
    assert Settings.of("lightgcn", align).projector_dtype == "float32"
    changed = Settings.of("lightgcn", align, changes={"projector_dtype": "bfloat16"})
    assert changed.projector_dtype == "bfloat16"
    assert changed.digest() != Settings.of("lightgcn", align).digest()
    with pytest.raises(ValueError, match=r"projector_dtype must be 'float32' or 'bfloat16'"):
        Settings.of("lightgcn", align, changes={"projector_dtype": "int8"})
    with pytest.raises(ValueError, match="projector_dtype must not be set for lightgcn with align"):
        Settings.of("lightgcn", changes={"projector_dtype": "float32"})
