"""The published settings, as data: every model with every alignment on every data set.

Source: the RLMRec paper (arXiv 2310.15950), its public implementation, and the report on
representation learning with large language models that extends it. A model has only the settings
that it looks at: the public configurations of GCCF, SimGCL and DCCF list a keep_rate as well, but
these models drop nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

Value = int | float | str
PerDataset = tuple[Value, Value, Value]

DATASETS = ("amazon", "yelp", "steam")
"""The data sets with published settings, in the order of the columns of `PUBLISHED`."""

DEFAULT = "default"
"""The preset of unknown data: the settings of `FALLBACK`."""

FALLBACK = "amazon"
"""The data set whose published results this package reproduces lends its settings to `DEFAULT`."""

COMMON: Mapping[str, Value] = {
    "dim": 32,
    "batch_size": 4096,
    "learning_rate": 1e-3,
    "max_epochs": 3000,
    "eval_every": 3,
    "patience": 5,
    "seed": 2023,
}

ALIGNED: Mapping[str, Value] = {"projector_dtype": "float32"}
"""Settings that every alignment has beside the published ones."""

_LIGHTGCN: Mapping[str, Value | PerDataset] = {"keep_rate": 0.8}
_SGL: Mapping[str, Value | PerDataset] = {
    "augmentation": "edge_drop",
    "keep_rate": 0.8,
    "num_layers": 3,
}
_SIMGCL: Mapping[str, Value | PerDataset] = {
    "num_layers": 3,
    "reg_weight": 1e-5,
    "noise": (0.9, 0.9, 0.2),
    "cl_weight": 0.1,
    "cl_temperature": (0.2, 0.2, 0.5),
}
_AUTOCF: Mapping[str, Value | PerDataset] = {
    "keep_rate": 0.2,
    "transformer_layers": 1,
    "num_heads": 4,
    "seed_num": 100,
    "mask_depth": 2,
    "fix_steps": 10,
}
_DCCF: Mapping[str, Value | PerDataset] = {
    "num_layers": (2, 2, 3),
    "reg_weight": (1e-4, 1e-4, 1e-3),
    "num_intents": 128,
    "cl_weight": 1e-3,
    "cl_temperature": 0.1,
}

PUBLISHED: Mapping[tuple[str, str], Mapping[str, Value | PerDataset]] = {
    ("lightgcn", "none"): {
        **_LIGHTGCN,
        "num_layers": (3, 3, 2),
        "reg_weight": 1e-6,
    },
    ("lightgcn", "contrastive"): {
        **_LIGHTGCN,
        "num_layers": 3,
        "reg_weight": (1e-7, 1e-7, 1e-8),
        "kd_weight": (1e-2, 1e-2, 1e-3),
        "kd_temperature": (0.2, 0.2, 0.1),
    },
    ("lightgcn", "generative"): {
        **_LIGHTGCN,
        "num_layers": 2,
        "reg_weight": (1e-7, 1e-7, 1e-6),
        "mask_ratio": (0.15, 0.05, 0.15),
        "recon_weight": (0.1, 0.01, 0.1),
        "recon_temperature": (0.5, 0.1, 0.5),
    },
    ("gccf", "none"): {
        "num_layers": 2,
        "reg_weight": 1e-6,
    },
    ("gccf", "contrastive"): {
        "num_layers": 2,
        "reg_weight": 1e-6,
        "kd_weight": (1e-3, 1e-3, 1e-2),
        "kd_temperature": (0.1, 0.2, 0.5),
    },
    ("gccf", "generative"): {
        "num_layers": 2,
        "reg_weight": (1e-7, 1e-6, 1e-6),
        "mask_ratio": (0.1, 0.05, 0.1),
        "recon_weight": 0.01,
        "recon_temperature": (0.1, 1.0, 0.1),
    },
    ("sgl", "none"): {
        **_SGL,
        "reg_weight": (1e-5, 1e-6, 1e-5),
        "cl_weight": (0.1, 1e-3, 0.1),
        "cl_temperature": (0.2, 0.1, 0.5),
    },
    ("sgl", "contrastive"): {
        **_SGL,
        "reg_weight": 1e-5,
        "cl_weight": 0.1,
        "cl_temperature": (0.2, 0.2, 0.5),
        "kd_weight": 1e-2,
        "kd_temperature": (0.5, 1.0, 1.0),
    },
    ("sgl", "generative"): {
        **_SGL,
        "reg_weight": 1e-5,
        "cl_weight": 0.1,
        "cl_temperature": (0.2, 0.2, 0.5),
        "mask_ratio": (0.2, 0.15, 0.1),
        "recon_weight": 0.1,
        "recon_temperature": 0.2,
    },
    ("simgcl", "none"): _SIMGCL,
    ("simgcl", "contrastive"): {
        **_SIMGCL,
        "kd_weight": 1e-2,
        "kd_temperature": (0.2, 0.1, 0.2),
    },
    ("simgcl", "generative"): {
        **_SIMGCL,
        "mask_ratio": (0.05, 0.01, 0.05),
        "recon_weight": (0.1, 0.01, 0.01),
        "recon_temperature": (0.2, 0.05, 0.1),
    },
    ("autocf", "none"): {
        **_AUTOCF,
        "num_layers": (2, 3, 2),
        "reg_weight": (1e-6, 1e-7, 1e-6),
        "ssl_reg": (5.0, 2.0, 0.5),
    },
    ("autocf", "contrastive"): {
        **_AUTOCF,
        "num_layers": 2,
        "reg_weight": (1e-6, 1e-8, 1e-6),
        "ssl_reg": (1.0, 1.0, 0.5),
        "kd_weight": (0.1, 1e-2, 1e-2),
        "kd_temperature": (0.5, 0.1, 0.2),
    },
    ("autocf", "generative"): {
        **_AUTOCF,
        "num_layers": 2,
        "reg_weight": (1e-6, 1e-8, 1e-6),
        "ssl_reg": (1.0, 1.0, 0.5),
        "mask_ratio": 0.2,
        "recon_weight": (1.0, 0.1, 1.0),
        "recon_temperature": (0.5, 0.1, 0.2),
    },
    ("dccf", "none"): _DCCF,
    ("dccf", "contrastive"): {
        **_DCCF,
        "kd_weight": 1e-2,
        "kd_temperature": (0.5, 0.2, 0.5),
    },
    ("dccf", "generative"): {
        **_DCCF,
        "mask_ratio": (0.05, 0.05, 0.1),
        "recon_weight": (0.1, 0.01, 0.01),
        "recon_temperature": (0.2, 0.1, 0.2),
    },
}
"""(model, alignment) -> its settings: one value for all data sets, or one per data set."""


def preset_names() -> tuple[str, ...]:
    """The names that `preset` knows."""
    return (*DATASETS, DEFAULT)


def preset(model: str, align: str, name: str) -> dict[str, Value]:
    """The published settings of a model, complete but for its own name.

    Args:
        model: backbone, such as `lightgcn`.
        align: `none`, `contrastive` or `generative`.
        name: a data set of `DATASETS`, or `default`.

    Returns:
        Setting -> value.

    Raises:
        ValueError: the model, alignment or preset is not in the table.
    """
    if (model, align) not in PUBLISHED:
        pairs = ", ".join(f"{model}/{align}" for model, align in PUBLISHED)
        raise ValueError(f"preset: model/align must be one of {pairs} (got {model}/{align})")
    if name not in preset_names():
        raise ValueError(f"preset: name must be one of {', '.join(preset_names())} (got {name})")
    column = DATASETS.index(FALLBACK if name == DEFAULT else name)
    aligned = {} if align == "none" else ALIGNED
    values = {**COMMON, **aligned, **PUBLISHED[model, align]}
    return {
        setting: value[column] if isinstance(value, tuple) else value
        for setting, value in values.items()
    }


def choose_preset(names: Iterable[str]) -> str:
    """The preset of a data set that is known by any of some names, else `default`."""
    lowered = [name.lower() for name in names]
    return next((name for name in lowered if name in DATASETS), DEFAULT)
