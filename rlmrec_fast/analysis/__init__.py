"""Whether what a recommender learned from interactions agrees with what texts say.

Functions return data; for what they return there is a `plot_...` beside, on matplotlib.
"""

from rlmrec_fast.analysis.cases import Case, cases
from rlmrec_fast.analysis.groups import Found, Groups, by_degree, found_in_top
from rlmrec_fast.analysis.maps import Clusters, Maps, cluster, map_spaces, project_2d, silhouette
from rlmrec_fast.analysis.overlap import Curves, Overlap, chance_overlap, overlap
from rlmrec_fast.analysis.overlap_table import OverlapRow, overlap_table, text_overlap
from rlmrec_fast.analysis.plots import (
    plot_cdf,
    plot_groups,
    plot_histogram,
    plot_map,
    plot_maps,
    plot_overlap,
    plot_trend,
)
from rlmrec_fast.analysis.tables import Estimate
from rlmrec_fast.analysis.trend import Trend, trend

__all__ = [
    "Case",
    "Clusters",
    "Curves",
    "Estimate",
    "Found",
    "Groups",
    "Maps",
    "Overlap",
    "OverlapRow",
    "Trend",
    "by_degree",
    "cases",
    "chance_overlap",
    "cluster",
    "found_in_top",
    "map_spaces",
    "overlap",
    "overlap_table",
    "plot_cdf",
    "plot_groups",
    "plot_histogram",
    "plot_map",
    "plot_maps",
    "plot_overlap",
    "plot_trend",
    "project_2d",
    "silhouette",
    "text_overlap",
    "trend",
]
