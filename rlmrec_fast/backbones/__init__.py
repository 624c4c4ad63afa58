"""The graph recommenders, by name."""

from __future__ import annotations

from rlmrec_fast.backbones.autocf import AutoCF
from rlmrec_fast.backbones.base import Backbone, Batch
from rlmrec_fast.backbones.dccf import DCCF
from rlmrec_fast.backbones.gccf import GCCF
from rlmrec_fast.backbones.lightgcn import LightGCN
from rlmrec_fast.backbones.sgl import SGL
from rlmrec_fast.backbones.simgcl import SimGCL

BACKBONES: dict[str, type[Backbone]] = {
    "lightgcn": LightGCN,
    "gccf": GCCF,
    "sgl": SGL,
    "simgcl": SimGCL,
    "autocf": AutoCF,
    "dccf": DCCF,
}
"""Every backbone that can be trained: its name on the command line -> its class."""

__all__ = ["BACKBONES", "DCCF", "GCCF", "SGL", "AutoCF", "Backbone", "Batch", "LightGCN", "SimGCL"]
