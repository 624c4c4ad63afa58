"""The operators. Each has a twin in plain PyTorch in :mod:`rlmrec_fast.ops.reference`."""

from rlmrec_fast.ops.adaptive_propagate import adaptive_propagate
from rlmrec_fast.ops.bpr import bpr_loss
from rlmrec_fast.ops.distinct import Distinct, distinct
from rlmrec_fast.ops.edge_attention import edge_attention
from rlmrec_fast.ops.gather import gather
from rlmrec_fast.ops.info_nce import info_nce, info_nce_by_id, symmetric_info_nce
from rlmrec_fast.ops.lse_matmul import lse_matmul
from rlmrec_fast.ops.neighbors import neighbor_overlap, neighbors
from rlmrec_fast.ops.project import project
from rlmrec_fast.ops.propagate import edge_mask, propagate
from rlmrec_fast.ops.propagated_bpr import propagated_bpr_loss
from rlmrec_fast.ops.random import derive_seed
from rlmrec_fast.ops.rank import RankingMetrics, rank, ranking_metrics
from rlmrec_fast.ops.reconstruction import reconstruction_loss
from rlmrec_fast.ops.reduce import squared_norm
from rlmrec_fast.ops.sample import sample_negatives
from rlmrec_fast.ops.spmm import spmm
from rlmrec_fast.ops.subgraphs import draw_seeds, draw_subgraphs

__all__ = [
    "Distinct",
    "RankingMetrics",
    "adaptive_propagate",
    "bpr_loss",
    "derive_seed",
    "distinct",
    "draw_seeds",
    "draw_subgraphs",
    "edge_attention",
    "edge_mask",
    "gather",
    "info_nce",
    "info_nce_by_id",
    "lse_matmul",
    "neighbor_overlap",
    "neighbors",
    "project",
    "propagate",
    "propagated_bpr_loss",
    "rank",
    "ranking_metrics",
    "reconstruction_loss",
    "sample_negatives",
    "spmm",
    "squared_norm",
    "symmetric_info_nce",
]
