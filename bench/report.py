"""From records to Markdown tables, and into the READMEs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

Row = Mapping[str, Any]
ROOT = Path(__file__).resolve().parents[1]
CLOSE = 1.2
"""Below this many times the alternative's speed we call it close."""


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table, its first column left, the others right aligned."""
    texts = [list(header), *(list(row) for row in rows)]
    widths = [max(3, *(len(text[column]) for text in texts)) for column in range(len(header))]
    lines = [
        "| " + " | ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(text, widths, strict=True))
        ) + " |"
        for text in texts
    ]
    rule = "|".join(("-" if column == 0 else ":").rjust(1) for column in range(0))
    dashes = ["-" * (width + 2) if column == 0 else "-" * (width + 1) + ":"
              for column, width in enumerate(widths)]
    return "\n".join([lines[0], f"|{'|'.join(dashes)}|{rule}", *lines[1:]])
