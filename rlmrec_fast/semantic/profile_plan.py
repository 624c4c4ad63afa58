"""What to ask a language model about the items and users of a data set."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from rlmrec_fast.data.dataset import Dataset
from rlmrec_fast.semantic.templates import Prompt

PARAMETERS: Mapping[str, Any] = {
    "temperature": 0,
    "max_tokens": 512,
    "response_format": {"type": "json_object"},
}
"""What a request says beside model and messages, unless it is told otherwise."""

MOST_CHARACTERS = 4000
"""Where a title or description is cut."""

TYPICAL_PROFILE = 500
"""Characters of a profile that is not written yet, to estimate prompts from."""

TYPICAL_ANSWER = 150
"""Tokens of an answer, likewise."""

_OVERHEAD = 12  # tokens of a request's form

Messages = list[dict[str, str]]


@dataclass(frozen=True)
class Question:
    """One request.

    Attributes:
        side: `items` or `users`.
        row: The item or user.
        messages: What the model is told.
        key: A hash of all that decides the answer.
    """

    side: str
    row: int
    messages: Messages
    key: str

    @property
    def tokens(self) -> int:
        """Roughly the tokens of the question: one for four bytes."""
        size = sum(len(message["content"].encode()) for message in self.messages)
        return -(-size // 4) + _OVERHEAD


@dataclass(frozen=True)
class Asker:
    """Puts questions.

    Attributes:
        model: The model's name.
        parameters: What requests say beside model and messages.
        prompts: `item` and `user` -> prompt.
        sample: Most items of a user that are told.
        seed: Chooses them.
    """

    model: str
    parameters: Mapping[str, Any]
    prompts: Mapping[str, Prompt]
    sample: int = 10
    seed: int = 2023

    def item(self, dataset: Dataset, row: int) -> Question | None:
        """The question about an item; None where nothing is known about it."""
        facts = known_facts(dataset.items, row)
        if not facts:
            return None
        return self._question("items", row, {"facts": _json(facts)})

    def user(self, dataset: Dataset, row: int, profiles: Sequence[str | None]) -> Question | None:
        """The question about a user.

        Args:
            dataset: Has the interactions, titles and descriptions.
            row: The user.
            profiles: Of all items, None where there is none.

        Returns:
            None where nothing is known about any item of the user.
        """
        chosen = []
        for item in self.items_of(dataset, row):
            facts = known_facts(dataset.items, item)
            profile = profiles[item]
            told = {"title": facts.get("title"), "note": profile or facts.get("description")}
            chosen.append({name: text for name, text in told.items() if text})
        chosen = [told for told in chosen if told]
        if not chosen:
            return None
        values = {
            "facts": _json(known_facts(dataset.users, row)),
            "items": _json(chosen),
            "count": str(len(chosen)),
        }
        return self._question("users", row, values)

    def items_of(self, dataset: Dataset, user: int) -> list[int]:
        """The training items of a user that are told: a sample that depends on seed and user."""
        train = dataset.train
        items = train.indices[train.indptr[user] : train.indptr[user + 1]]
        if len(items) > self.sample:
            rng = np.random.default_rng([self.seed, user])
            items = rng.choice(items, self.sample, replace=False)
        return sorted(items.tolist())

    def _question(self, side: str, row: int, values: Mapping[str, str]) -> Question:
        messages = self.prompts[side.removesuffix("s")].messages(values)
        content = [self.model, dict(self.parameters), messages]
        key = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:24]
        return Question(side, row, messages, key)

    @property
    def answer_tokens(self) -> int:
        """The most tokens of an answer."""
        limits = (self.parameters.get(name) for name in ("max_tokens", "max_completion_tokens"))
        return next((limit for limit in limits if isinstance(limit, int)), 512)


def known_facts(table: pl.DataFrame | None, row: int) -> dict[str, str]:
    """The title and description of an item or user, where they are not blank."""
    if table is None:
        return {}
    texts = {name: table[name][row] for name in ("title", "description")}
    return {
        name: text.strip()[:MOST_CHARACTERS]
        for name, text in texts.items()
        if text is not None and text.strip()
    }


def parse_parameters(assignments: Sequence[str]) -> dict[str, Any]:
    """The parameters of requests after some changes.

    Args:
        assignments: `NAME=VALUE`, with VALUE as JSON or plain text; null leaves NAME out.

    Raises:
        ValueError: An assignment has no name or no value.
    """
    parameters = dict(PARAMETERS)
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not name.isidentifier() or not equals or name in ("model", "messages"):
            raise ValueError(f"--parameter must be NAME=VALUE (got {assignment!r})")
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        parameters[name] = value
    return {name: value for name, value in parameters.items() if value is not None}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1)
