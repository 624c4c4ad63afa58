"""RLMRec in eager PyTorch, as its public implementation goes about it: LightGCN, Con and Gen.

Written from the mathematics, so that the same things happen in the same order with the same
library calls: a normalised COO adjacency whose entries are masked and copied in every forward pass,
`torch.spmm` per layer, gradients for whole tables, dense Adam, a Python loop that draws negatives,
a `DataLoader` over single triplets, evaluation over dense masked scores; for the alignments, all
texts through the projector in every step and whole matrices of exponentials. Nothing is slowed
down: where two ways are equally faithful, the faster one is taken.
"""

from bench.reference.alignment import ContrastiveLightGCN, GenerativeLightGCN
from bench.reference.evaluate import RankingUsers, evaluate
from bench.reference.losses import info_nce, reconstruction
from bench.reference.model import LightGCN, drop_edges, normalized_adjacency, propagate
from bench.reference.train import Triplets, optimizer_for, train_epoch, train_step, triplet_loader

__all__ = [
    "ContrastiveLightGCN",
    "GenerativeLightGCN",
    "LightGCN",
    "RankingUsers",
    "Triplets",
    "drop_edges",
    "evaluate",
    "info_nce",
    "normalized_adjacency",
    "optimizer_for",
    "propagate",
    "reconstruction",
    "train_epoch",
    "train_step",
    "triplet_loader",
]
