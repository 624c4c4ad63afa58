"""The native losses; until they are there, their twins."""

from rlmrec_fast.ops.reference import info_nce_by_id, reconstruction_loss

__all__ = ["info_nce_by_id", "reconstruction_loss"]
