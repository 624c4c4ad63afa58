"""Layers and losses that drop into other recommenders."""

from rlmrec_fast.nn.layers import BPRLoss, Propagation

__all__ = ["BPRLoss", "Propagation"]
