"""RLMRec's alignments of a graph recommender with texts, by name, and the model that joins both."""

from __future__ import annotations

from rlmrec_fast.alignment.base import Alignment, Sizes
from rlmrec_fast.alignment.contrastive import Contrastive
from rlmrec_fast.alignment.generative import Generative
from rlmrec_fast.alignment.recommender import Recommender

ALIGNMENTS: dict[str, type[Alignment]] = {"contrastive": Contrastive, "generative": Generative}
"""Every alignment: its name on the command line -> its class."""

__all__ = ["ALIGNMENTS", "Alignment", "Contrastive", "Generative", "Recommender", "Sizes"]
