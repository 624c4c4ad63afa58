"""One training step: loss, gradients, Adam."""

from __future__ import annotations

from functools import reduce

import torch
from torch import Tensor

from rlmrec_fast.alignment import Recommender
from rlmrec_fast.backbones import Batch
from rlmrec_fast.ops.random import Seed


def create_optimizer(model: Recommender, learning_rate: float) -> torch.optim.Adam:
    """Adam over all parameters; it brings the gradient of `reg_loss` as its weight decay.

    `reg_loss` is `reg_weight |parameters|^2`, so its gradient is `2 reg_weight` times each
    parameter, which Adam adds to the other gradients while it reads them anyway: two passes over
    every table less.
    """
    decay = 2 * model.backbone.reg_weight
    return torch.optim.Adam(model.parameters(), lr=learning_rate, weight_decay=decay, fused=True)


def train_step(
    model: Recommender, optimizer: torch.optim.Adam, batch: Batch, seed: Seed, step: int
) -> dict[str, Tensor]:
    """Takes one step on one batch.

    Args:
        model: what is trained, in training mode.
        optimizer: of `create_optimizer`.
        batch: the triplets.
        seed: seed of the step.
        step: its number in the epoch, from 0.

    Returns:
        The loss before the step, term by term; see `Recommender.loss`.
    """
    terms = model.terms(batch, seed, step)
    with torch.no_grad():
        reg_loss = model.reg_loss()
    # Of the optimizer: to look through the modules for them takes longer.
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for parameter in parameters:
        parameter.grad = None
    reduce(torch.add, terms.values()).backward()
    for parameter in parameters:
        if parameter.grad is None:
            # Nothing but reg_loss depends on it, as on GCCF's matrices; Adam skips what has none.
            parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    return {**terms, "reg_loss": reg_loss}
