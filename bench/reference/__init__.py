"""RLMRec in eager PyTorch, as its public implementation goes about it: backbones, Con and Gen.

Written from the mathematics, so that the same things happen in the same order with the same
library calls: a normalised COO adjacency whose entries are masked and copied in every forward pass,
`torch.spmm` per layer, gradients for whole tables, dense Adam, a Python loop that draws negatives,
a `DataLoader` over single triplets, evaluation over dense masked scores; whole matrices of
exponentials in contrastive losses, and all texts through the projector in every step. Nothing is
slowed down: where two ways are equally faithful, the faster one is taken.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from bench.reference.alignment import Contrastive, Generative
from bench.reference.autocf import AutoCF
from bench.reference.dccf import DCCF
from bench.reference.evaluate import RankingUsers, evaluate
from bench.reference.gccf import GCCF
from bench.reference.losses import info_nce, reconstruction
from bench.reference.model import Backbone, LightGCN, drop_edges, normalized_adjacency, propagate
from bench.reference.sgl import SGL
from bench.reference.simgcl import SimGCL
from bench.reference.train import (
    Model,
    Triplets,
    optimizer_for,
    train_epoch,
    train_step,
    triplet_loader,
)

BACKBONES: dict[str, type[Backbone]] = {
    "lightgcn": LightGCN,
    "gccf": GCCF,
    "sgl": SGL,
    "simgcl": SimGCL,
    "autocf": AutoCF,
    "dccf": DCCF,
}
"""The counterparts of the package's backbones, by name."""

ALIGNMENTS: dict[str, type[Contrastive | Generative]] = {
    "contrastive": Contrastive,
    "generative": Generative,
}
"""The counterparts of the package's alignments, by name."""


def create_model(
    settings: Mapping[str, Any],
    train: Any,
    texts: tuple[Tensor, Tensor] | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Model:
    """The counterpart of the package's model of the same settings.

    Args:
        settings: name -> value, `model` and `align` among them.
        train: scipy sparse U x I.
        texts: users' [U, t] and items' [I, t], for an alignment.
        dtype: of adjacency and parameters.
        device: likewise; parameters are drawn on the CPU.
    """
    kind = BACKBONES[settings["model"]]
    adjacency = normalized_adjacency(train, dtype, kind.self_loops).to(device)
    backbone: Any = kind(adjacency, *train.shape, **_keywords(kind, 3, settings))
    if settings["align"] == "none":
        return backbone
    aligned = ALIGNMENTS[settings["align"]]
    assert texts is not None
    return aligned(backbone, *texts, **_keywords(aligned, 3, settings))


def _keywords(kind: type, skipped: int, settings: Mapping[str, Any]) -> dict[str, Any]:
    names = list(inspect.signature(kind).parameters)[skipped:]
    return {name: settings[name] for name in names}


__all__ = [
    "ALIGNMENTS",
    "BACKBONES",
    "DCCF",
    "GCCF",
    "SGL",
    "AutoCF",
    "Backbone",
    "Contrastive",
    "Generative",
    "LightGCN",
    "Model",
    "RankingUsers",
    "SimGCL",
    "Triplets",
    "create_model",
    "drop_edges",
    "evaluate",
    "info_nce",
    "normalized_adjacency",
    "optimizer_for",
    "propagate",
    "reconstruction",
    "train_epoch",
    "train_step",
    "triplet_loader",
]
