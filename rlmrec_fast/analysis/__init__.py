"""Whether what a recommender learned from interactions agrees with what texts say."""

from rlmrec_fast.analysis.overlap import OverlapRow, overlap_table, text_overlap

__all__ = ["OverlapRow", "overlap_table", "text_overlap"]
