"""From settings and a data set to the model that they describe."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from rlmrec_fast import alignment
from rlmrec_fast._library import build_info
from rlmrec_fast.alignment import Recommender, Sizes
from rlmrec_fast.backbones import BACKBONES, Backbone
from rlmrec_fast.graph import InteractionGraph
from rlmrec_fast.training.settings import Settings
from rlmrec_fast.training.texts import require_texts, text_table

if TYPE_CHECKING:
    from rlmrec_fast.data import Dataset

ALIGNMENTS = ("none", *alignment.ALIGNMENTS)
"""Every alignment that can be trained."""


def require_available(model: str, align: str) -> None:
    """Refuses what cannot be trained, whether or not it has published settings.

    Raises:
        ValueError: naming what is available.
    """
    if model not in BACKBONES:
        raise ValueError(f"model must be one of {', '.join(BACKBONES)} (got {model!r})")
    if align not in ALIGNMENTS:
        raise ValueError(f"align must be one of {', '.join(ALIGNMENTS)} (got {align!r})")


def create_model(
    settings: Settings,
    dataset: Dataset,
    device: torch.device | str = "cpu",
    allow_zero_vectors: bool = False,
) -> Recommender:
    """Builds the training graph and the freshly initialised model on it.

    Args:
        settings: decide all of the model.
        dataset: its training interactions, and for an alignment its text vectors.
        device: where to train.
        allow_zero_vectors: whether an alignment takes text vectors that are zero.

    Raises:
        ValueError: the model or alignment is not available, or the text vectors do not do.
    """
    require_available(settings.model, settings.align)
    kind = alignment.ALIGNMENTS.get(settings.align)
    if kind is not None:
        require_texts(dataset, allow_zero_vectors)
    backbone = create_backbone(settings, dataset, device)
    if kind is None:
        return Recommender(backbone)
    aligned = kind.create(text_table(dataset), Sizes.of(backbone), settings.used())
    return Recommender(backbone, aligned.to(device))


def create_backbone(
    settings: Settings, dataset: Dataset, device: torch.device | str = "cpu"
) -> Backbone:
    """Builds the part of a model that inference needs, whatever it is trained with.

    Raises:
        ValueError: the model is not available.
    """
    require_available(settings.model, settings.align)
    backbone = BACKBONES[settings.model]
    graph = InteractionGraph.from_scipy(dataset.train, self_loops=backbone.self_loops)
    return backbone.create(graph.to(device), settings.used())


def parse_device(text: str) -> torch.device:
    """The device that a command was given.

    Raises:
        ValueError: it is unknown, or not available here.
    """
    try:
        device = torch.device(text)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda"):
        raise ValueError(f"--device must be cpu or cuda (got {text!r})")
    if device.type == "cuda":
        reason = _missing_for(device)
        if reason:
            raise ValueError(
                f"--device must be available here (got {text!r}, but {reason}; "
                "`python -m rlmrec_fast.info` tells more)"
            )
    return device


def _missing_for(device: torch.device) -> str | None:
    """Why a CUDA device cannot be used, None where it can."""
    if not torch.cuda.is_available():
        return f"torch {torch.__version__} finds no CUDA device"
    if (device.index or 0) >= torch.cuda.device_count():
        return f"torch finds {torch.cuda.device_count()} CUDA devices"
    if not (build_info() or {}).get("cuda"):
        return "this build of rlmrec_fast has no CUDA kernels"
    return None
