"""The texts of a data set that are turned into vectors."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

SIDES = ("items", "users")

Rows = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class SideTexts:
    """The texts of all items or all users.

    Attributes:
        side: `items` or `users`.
        texts: One for every row: its profile; for want of one its title and description; or else
            the empty text.
        described: How many of them are titles and descriptions.
    """

    side: str
    texts: tuple[str, ...]
    described: int

    @classmethod
    def of(cls, side: str, table: pl.DataFrame | None, rows: int) -> SideTexts:
        """Takes the texts from the table of a data set.

        Args:
            side: `items` or `users`.
            table: The table of that side, or None.
            rows: How many items or users there are.
        """
        if table is None:
            return cls(side, ("",) * rows, 0)
        profiles, titles, descriptions = (
            table[column].fill_null("").str.strip_chars().to_list()
            for column in ("profile", "title", "description")
        )
        others = ["\n".join(filter(None, pair)) for pair in zip(titles, descriptions, strict=True)]
        texts = tuple(own or other for own, other in zip(profiles, others, strict=True))
        described = sum(not own and bool(text) for own, text in zip(profiles, texts, strict=True))
        return cls(side, texts, described)

    @cached_property
    def present(self) -> Rows:
        """The rows that have a text, the longest texts first."""
        lengths = np.array([len(text) for text in self.texts], np.int64)
        order: Rows = np.argsort(-lengths, kind="stable")
        return order[: np.count_nonzero(lengths)]

    @property
    def missing(self) -> int:
        """How many rows have none."""
        return len(self.texts) - len(self.present)

    @cached_property
    def digest(self) -> str:
        """A hash of all texts in their order."""
        digest = hashlib.sha256()
        for text in self.texts:
            content = text.encode("utf-8", "replace")
            digest.update(len(content).to_bytes(8, "little") + content)
        return digest.hexdigest()[:16]
