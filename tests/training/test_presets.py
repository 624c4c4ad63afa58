from __future__ import annotations

import pytest

from rlmrec_fast.alignment import ALIGNMENTS
from rlmrec_fast.backbones import BACKBONES
from rlmrec_fast.training.presets import DATASETS, PUBLISHED, choose_preset, preset, preset_names
from rlmrec_fast.training.settings import Settings

# The published table as it is printed: amazon / yelp / steam, one value where all three agree.
TABLE = """
LightGCN | 3/3/2 | 1e-6 | - | - | -
LightGCN-Con | 3/3/3 | 1e-7/1e-7/1e-8 | - | 1e-2,.2 / 1e-2,.2 / 1e-3,.1 | -
LightGCN-Gen | 2/2/2 | 1e-7/1e-7/1e-6 | - | - | .15,.1,.5 / .05,.01,.1 / .15,.1,.5
GCCF | 2/2/2 | 1e-6 | - | - | -
GCCF-Con | 2/2/2 | 1e-6 | - | 1e-3,.1 / 1e-3,.2 / 1e-2,.5 | -
GCCF-Gen | 2/2/2 | 1e-7/1e-6/1e-6 | - | - | .1,.01,.1 / .05,.01,1 / .1,.01,.1
SGL | 3/3/3 | 1e-5/1e-6/1e-5 | .1,.2 / 1e-3,.1 / .1,.5 | - | -
SGL-Con | 3/3/3 | 1e-5 | .1,.2 / .1,.2 / .1,.5 | 1e-2,.5 / 1e-2,1 / 1e-2,1 | -
SGL-Gen | 3/3/3 | 1e-5 | .1,.2 / .1,.2 / .1,.5 | - | .2,.1,.2 / .15,.1,.2 / .1,.1,.2
SimGCL | 3/3/3 | 1e-5 | .1,.2 / .1,.2 / .1,.5 | - | -
SimGCL-Con | 3/3/3 | 1e-5 | .1,.2 / .1,.2 / .1,.5 | 1e-2,.2 / 1e-2,.1 / 1e-2,.2 | -
SimGCL-Gen | 3/3/3 | 1e-5 | .1,.2 / .1,.2 / .1,.5 | - | .05,.1,.2 / .01,.01,.05 / .05,.01,.1
AutoCF | 2/3/2 | 1e-6/1e-7/1e-6 | 5/2/.5 | - | -
AutoCF-Con | 2/2/2 | 1e-6/1e-8/1e-6 | 1/1/.5 | .1,.5 / 1e-2,.1 / 1e-2,.2 | -
AutoCF-Gen | 2/2/2 | 1e-6/1e-8/1e-6 | 1/1/.5 | - | .2,1,.5 / .2,.1,.1 / .2,1,.2
DCCF | 2/2/3 | 1e-4/1e-4/1e-3 | 1e-3,.1 | - | -
DCCF-Con | 2/2/3 | 1e-4/1e-4/1e-3 | 1e-3,.1 | 1e-2,.5 / 1e-2,.2 / 1e-2,.5 | -
DCCF-Gen | 2/2/3 | 1e-4/1e-4/1e-3 | 1e-3,.1 | - | .05,.1,.2 / .05,.01,.1 / .1,.01,.2
"""
ALL = {
    "dim": 32,
    "batch_size": 4096,
    "learning_rate": 1e-3,
    "max_epochs": 3000,
    "eval_every": 3,
    "patience": 5,
    "seed": 2023,
}
OF_MODEL = {
    "lightgcn": {"keep_rate": 0.8},
    "gccf": {},
    "sgl": {"keep_rate": 0.8, "augmentation": "edge_drop"},
    "simgcl": {},
    "autocf": {
        "keep_rate": 0.2,
        "transformer_layers": 1,
        "num_heads": 4,
        "seed_num": 100,
        "mask_depth": 2,
        "fix_steps": 10,
    },
    "dccf": {"num_intents": 128},
}
NOISE = {"amazon": 0.9, "yelp": 0.9, "steam": 0.2}
ALIGN = {"": "none", "Con": "contrastive", "Gen": "generative"}


def cells(text: str, column: int) -> list[float]:
    parts = text.split("/")
    return [float(number) for number in parts[column if len(parts) > 1 else 0].split(",")]


def expected(row: str, dataset: str) -> tuple[str, str, dict[str, float]]:
    name, layers, reg, cl, con, gen = (cell.strip() for cell in row.split("|"))
    model, _, suffix = name.partition("-")
    model, align, column = model.lower(), ALIGN[suffix], DATASETS.index(dataset)
    values = ALL | OF_MODEL[model]
    values |= {"num_layers": cells(layers, column)[0], "reg_weight": cells(reg, column)[0]}
    if model == "autocf":
        values["ssl_reg"] = cells(cl, column)[0]
    elif cl != "-":
        values |= zip(("cl_weight", "cl_temperature"), cells(cl, column), strict=True)
    if model == "simgcl":
        values["noise"] = NOISE[dataset]
    if con != "-":
        values |= zip(("kd_weight", "kd_temperature"), cells(con, column), strict=True)
    if gen != "-":
        names = ("mask_ratio", "recon_weight", "recon_temperature")
        values |= zip(names, cells(gen, column), strict=True)
    if align != "none":
        values["projector_dtype"] = "float32"
    return model, align, values


ROWS = TABLE.strip().splitlines()


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("row", ROWS, ids=[row.split("|")[0].strip() for row in ROWS])
def test_every_preset_is_the_published_one(row, dataset):
    model, align, values = expected(row, dataset)
    assert preset(model, align, dataset) == values
    assert Settings.of(model, align, dataset).used() == {"model": model, "align": align} | values


def test_the_table_is_complete():
    assert len(PUBLISHED) == len(ROWS) == 18
    assert all((name, align) in PUBLISHED for name in BACKBONES for align in ALIGN.values())


@pytest.mark.parametrize(("model", "align"), PUBLISHED)
def test_unknown_data_gets_the_settings_of_amazon(model, align):
    assert preset(model, align, "default") == preset(model, align, "amazon")


@pytest.mark.parametrize("name", BACKBONES)
def test_a_backbone_takes_exactly_the_settings_of_its_preset(name):
    of_the_trainer = {"batch_size", "learning_rate", "max_epochs", "eval_every", "patience"}
    settings = set(preset(name, "none", "amazon")) - of_the_trainer
    assert set(BACKBONES[name].parameters_and_defaults()) == settings


@pytest.mark.parametrize("name", BACKBONES)
def test_a_backbones_own_defaults_are_those_of_the_default_preset(name):
    published = preset(name, "none", "default")
    for setting, value in BACKBONES[name].parameters_and_defaults().items():
        assert value == published[setting]


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("align", ALIGNMENTS)
def test_an_alignment_takes_only_settings_that_every_preset_has(name, align):
    published = preset(name, align, "default")
    defaults = ALIGNMENTS[align].parameters_and_defaults()
    assert set(defaults) <= set(published)
    if name == "lightgcn":
        assert defaults == {setting: published[setting] for setting in defaults}


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["amazon"], "amazon"),
        (["My data", "Yelp"], "yelp"),
        (["STEAM", "amazon"], "steam"),
        (["amazon-2024", "data"], "default"),
        ([], "default"),
    ],
)
def test_a_preset_is_chosen_by_the_exact_name_of_its_data_set(names, chosen):
    assert choose_preset(names) == chosen


def test_what_is_not_in_the_table_is_refused_by_name():
    with pytest.raises(ValueError, match=r"model/align must be one of lightgcn/none.*got gru/none"):
        preset("gru", "none", "amazon")
    with pytest.raises(ValueError, match=r"name must be one of amazon, yelp.*got netflix"):
        preset("lightgcn", "none", "netflix")
    assert preset_names() == ("amazon", "yelp", "steam", "default")
