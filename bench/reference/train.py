"""An epoch: negatives in a Python loop, a DataLoader over single triplets, dense Adam."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from bench.reference.alignment import Contrastive, Generative
from bench.reference.model import Backbone

Model = Backbone | Contrastive | Generative
Triplet = tuple[Any, Any, Any]


class Triplets(Dataset[Triplet]):
    """(user, positive, negative) of every training interaction.

    Mirrors the public sampler: for each interaction numpy draws one item at a time until the pair
    is not among the training interactions. The public code looks it up in a scipy dok matrix; a set
    of tuples does the same faster.

    Args:
        train: scipy sparse U x I.
        seed: of the negatives.
    """

    def __init__(self, train: Any, seed: int = 2023) -> None:
        entries = train.tocoo()
        self.users = entries.row.astype(np.int32)
        self.positives = entries.col.astype(np.int32)
        self.negatives = np.zeros(len(self.users), np.int32)
        self.num_items = int(train.shape[1])
        self.known = set(zip(self.users.tolist(), self.positives.tolist(), strict=True))
        self.random = np.random.RandomState(seed)

    def draw_negatives(self) -> None:
        """One item without interaction for every interaction."""
        for index, user in enumerate(self.users.tolist()):
            while True:
                item = self.random.randint(self.num_items)
                if (user, item) not in self.known:
                    self.negatives[index] = item
                    break

    def __len__(self) -> int:
        return len(self.users)

    def __getitem__(self, index: int) -> Triplet:
        return self.users[index], self.positives[index], self.negatives[index]


def triplet_loader(triplets: Triplets, batch_size: int = 4096) -> DataLoader[Triplet]:
    """Shuffled batches, collated triplet by triplet in this process."""
    return DataLoader(triplets, batch_size=batch_size, shuffle=True, num_workers=0)


def optimizer_for(model: Model, learning_rate: float = 1e-3) -> torch.optim.Optimizer:
    """Adam over the whole tables, with PyTorch's defaults."""
    return torch.optim.Adam(model.parameters(), lr=learning_rate, weight_decay=0)


def train_epoch(
    model: Model, optimizer: torch.optim.Optimizer, loader: DataLoader[Triplet]
) -> dict[str, float]:
    """Draws negatives and walks all triplets once.

    Returns:
        The mean of every loss term.
    """
    triplets = loader.dataset
    assert isinstance(triplets, Triplets)
    triplets.draw_negatives()
    model.train()
    means: dict[str, float] = {}
    for batch in loader:
        for name, value in train_step(model, optimizer, batch).items():
            means[name] = means.get(name, 0.0) + value / len(loader)
    return means


def train_step(
    model: Model, optimizer: torch.optim.Optimizer, batch: Sequence[Tensor]
) -> dict[str, float]:
    """One step; reads every loss term, as the public code does."""
    optimizer.zero_grad()
    device = next(model.parameters()).device
    users, positives, negatives = (column.long().to(device) for column in batch)
    loss, terms = model.loss(users, positives, negatives)
    loss.backward()
    optimizer.step()
    return {name: term.item() for name, term in terms.items()}
