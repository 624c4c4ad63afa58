"""Uniform negative sampling."""

from __future__ import annotations

import torch
from torch import Tensor

from rlmrec_fast.graph import InteractionGraph
from rlmrec_fast.ops.random import Seed, seed_tensor


def sample_negatives(graph: InteractionGraph, seed: Seed) -> Tensor:
    """One item per interaction, uniform over the items that its user has no interaction with.

    Exact and without rejection: a hashed rank among the missing items is found by binary search in
    the user's sorted row.

    Args:
        graph: the training graph.
        seed: integer in [0, 2**63) or int64 tensor of one element; the result depends on it alone.

    Returns:
        int64 [num_interactions], in the order of ``graph.interactions()``.

    Raises:
        ValueError: a user has interactions with all items.
    """
    if not isinstance(graph, InteractionGraph):
        raise TypeError(
            f"sample_negatives: graph must be an InteractionGraph (got {type(graph).__name__})"
        )
    offsets, items = graph.user_items
    if graph.has_full_user and offsets.device.type != "cpu":
        _refuse_full_user(graph)
    negatives: Tensor = torch.ops.rlmrec_fast.sample_negatives(
        offsets, items, seed_tensor("sample_negatives", seed), graph.num_items
    )
    return negatives


def _refuse_full_user(graph: InteractionGraph) -> None:
    """What the CPU's kernel says by itself; a device's kernel could not without stopping it."""
    full = (graph.user_items[0].diff() == graph.num_items).nonzero()
    if len(full):
        raise ValueError(
            "sample_negatives: graph must leave every user at least one item without interaction "
            f"(got user {int(full[0])} with all {graph.num_items} items)"
        )


@torch.library.register_fake("rlmrec_fast::sample_negatives")
def _fake(offsets: Tensor, items: Tensor, seed: Tensor, num_items: int) -> Tensor:
    return offsets.new_empty(items.shape[0])
