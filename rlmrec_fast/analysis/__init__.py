"""Whether what a recommender learned from interactions agrees with what texts say."""

from rlmrec_fast.analysis.groups import Found, Groups, by_degree, found_in_top
from rlmrec_fast.analysis.overlap import Curves, Overlap, chance_overlap, overlap
from rlmrec_fast.analysis.overlap_table import OverlapRow, overlap_table, text_overlap
from rlmrec_fast.analysis.tables import Estimate
from rlmrec_fast.analysis.trend import Trend, trend

__all__ = [
    "Curves",
    "Estimate",
    "Found",
    "Groups",
    "Overlap",
    "OverlapRow",
    "Trend",
    "by_degree",
    "chance_overlap",
    "found_in_top",
    "overlap",
    "overlap_table",
    "text_overlap",
    "trend",
]
