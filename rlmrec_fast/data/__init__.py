"""Data sets: on disk, imported from RLMRec's files, synthetic, and in numbers.

Needs the extra `train` (scipy, polars, pydantic; scikit-learn for synthetic data).
"""

from rlmrec_fast.data.dataset import Dataset
from rlmrec_fast.data.rlmrec import read_rlmrec
from rlmrec_fast.data.summary import summarize
from rlmrec_fast.data.synthetic import synthesize
from rlmrec_fast.errors import DatasetError

__all__ = ["Dataset", "DatasetError", "read_rlmrec", "summarize", "synthesize"]
