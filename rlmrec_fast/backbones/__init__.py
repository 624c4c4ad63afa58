"""The graph recommenders, by name."""

from __future__ import annotations

from rlmrec_fast.backbones.base import Backbone, Batch
from rlmrec_fast.backbones.lightgcn import LightGCN

BACKBONES: dict[str, type[Backbone]] = {"lightgcn": LightGCN}
"""Every backbone that can be trained: its name on the command line -> its class."""

__all__ = ["BACKBONES", "Backbone", "Batch", "LightGCN"]
