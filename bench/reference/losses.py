"""RLMRec's contrastive losses: whole matrices of exponentials."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def info_nce(query: Tensor, positive: Tensor, candidates: Tensor, temperature: float) -> Tensor:
    """Sum over queries of -cos(q, k+)/tau + log sum_c exp(cos(q, c)/tau).

    Mirrors the public loss: vectors divided by their norms with 1e-8 below the root, and the
    exponentials of all pairs summed as they are, without a maximum to subtract.

    Args:
        query: [B, d].
        positive: [B, d].
        candidates: [C, d].
        temperature: tau.
    """
    query, positive, candidates = (_unit(x) for x in (query, positive, candidates))
    numerator = -(query * positive / temperature).sum(dim=-1)
    denominator = torch.exp(query @ candidates.T / temperature).sum(dim=-1).log()
    return (numerator + denominator).sum()


def reconstruction(x: Tensor, y: Tensor, temperature: float) -> Tensor:
    """Mean over rows of -log(exp(x_i.y_i/tau) / (sum_j exp(x_i.y_j/tau) + 1e-8) + 1e-8).

    Args:
        x: [M, t], normalised here.
        y: [M, t], normalised here.
        temperature: tau.
    """
    x, y = F.normalize(x), F.normalize(y)
    own = torch.exp((x * y).sum(dim=1) / temperature)
    everything = torch.exp(x @ y.T / temperature).sum(dim=1)
    return -torch.log(own / (everything + 1e-8) + 1e-8).mean()


def _unit(x: Tensor) -> Tensor:
    return x / torch.sqrt(1e-8 + x.square().sum(dim=-1, keepdim=True))
