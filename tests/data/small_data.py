"""Interactions of three users with four items."""

from __future__ import annotations

TRAIN = [[1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1]]
VALIDATION = [[0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
TEST = [[0, 0, 0, 1], [1, 0, 0, 0], [1, 0, 0, 0]]
