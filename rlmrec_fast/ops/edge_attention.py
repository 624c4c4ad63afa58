"""Attention along the edges of a graph (the transformer of AutoCF, Xia et al., WWW 2023)."""

from __future__ import annotations

from torch import Tensor

from rlmrec_fast.graph import InteractionGraph
from rlmrec_fast.symmetric import SymmetricGraph


def edge_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    graph: InteractionGraph | SymmetricGraph,
    num_heads: int,
    *,
    clamp: float = 10.0,
    eps: float = 1e-8,
) -> Tensor:
    """Each node's weighted mean of its neighbours' values.

    In each head, for the entries (r, c) of row r: a_rc = exp(clamp(q_r . k_c, -clamp, clamp)),
    y_r = sum_c a_rc v_c / (sum_c a_rc + eps).
    """
    from rlmrec_fast.ops import reference  # until the kernel is there

    return reference.edge_attention(query, key, value, graph, num_heads, clamp=clamp, eps=eps)
