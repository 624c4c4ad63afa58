"""Synthetic data in which texts tell the truth about interactions.

Every item is a book of one theme, with a hint of a second; every user likes a few themes. Items are
chosen by theme and by popularity, with a long tail, and the texts name the themes. So a model that
reads the texts can learn something that the training interactions alone do not show.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.sparse as sp

from rlmrec_fast.data.dataset import Dataset
from rlmrec_fast.data.tables import make_table
from rlmrec_fast.data.topics import ADJECTIVES, TONES, TOPICS

# The smallest number of interactions that a 3:1:1 split divides.
MIN_PER_USER = 5

_LIKED = 3  # themes that a user likes
_SAME_THEME, _SAME_TOPIC = 0.65, 0.2  # of a user's choices; the rest are of anything popular
_SECOND_THEME = 0.3  # how much an item counts in its second theme, 1 being the first
_ACTIVITY_SPREAD = 0.8
_POPULARITY_EXPONENT, _POPULARITY_SHIFT = 0.8, 10.0
_ROUNDS = 6
_BLOCK_INTERACTIONS = 2**20
_BLOCK_CELLS = 2**22

_THEMES = [(topic, theme) for topic, themes in TOPICS.items() for theme in themes]
_TOPIC_OF = np.array([list(TOPICS).index(topic) for topic, _ in _THEMES])
_WORDS = [TOPICS[topic][theme].split() for topic, theme in _THEMES]

Ints = np.ndarray[Any, np.dtype[np.int64]]
Floats = np.ndarray[Any, np.dtype[np.floating[Any]]]


@dataclass(frozen=True)
class _World:
    """Who likes what, before anybody has chosen anything."""

    first_theme: Ints  # [I]
    second_theme: Ints  # [I]
    popularity: Floats  # [I]
    liked_themes: Ints  # [U, _LIKED]
    liked_until: Floats  # [U, _LIKED] cumulative shares of a user's choices


def synthesize(
    users: int,
    items: int,
    interactions: int,
    seed: int = 2023,
    *,
    dim: int = 64,
    name: str = "synthetic",
) -> Dataset:
    """Makes a data set with texts and text vectors that agree with the interactions.

    The same arguments give the same bits, whatever the number of threads (and the same numpy,
    scikit-learn and processor type).

    Args:
        users: U, at least 1.
        items: I, at least 5.
        interactions: All of them, before the split: 5 to I for every user. Each user's are split
            3:1:1 at random.
        seed: In [0, 2**63).
        dim: Size of the text vectors, less where the texts have fewer dimensions.
        name: The data set's name.

    Returns:
        A data set with titles and profiles and with L2-normalised float32 text vectors (TF-IDF of
        all texts, then truncated SVD).

    Raises:
        TypeError: A number is not an integer.
        ValueError: A number is out of range.
    """
    # Encoders know data sets.
    from rlmrec_fast.semantic.encoders import LsaEncoder

    users, items = _integer("users", users, 1, 2**31 - 1), _integer("items", items, 5, 2**31 - 1)
    interactions = _integer("interactions", interactions, MIN_PER_USER * users, users * items)
    seed, dim = _integer("seed", seed, 0, 2**63 - 1), _integer("dim", dim, 1, 2**31 - 1)

    world = _make_world(np.random.default_rng([seed, 0]), users, items)
    counts = _user_counts(np.random.default_rng([seed, 1]), users, items, interactions)
    owners = np.repeat(np.arange(users), counts)
    chosen = _choose(world, counts, seed)
    part = _split(np.random.default_rng([seed, 2]), owners, counts)
    titles, item_texts = _item_texts(np.random.default_rng([seed, 3]), world)
    user_texts = _user_texts(np.random.default_rng([seed, 4]), world)
    texts = user_texts + item_texts
    vectors = LsaEncoder(texts, dim, seed).encode(texts)
    ones = np.ones(interactions, np.float32)
    train, validation, test = (
        sp.coo_array((ones[mine], (owners[mine], chosen[mine])), shape=(users, items)).tocsr()
        for mine in (part == 0, part == 1, part == 2)
    )
    return Dataset(
        name,
        train,
        validation,
        test,
        user_vectors=vectors[:users],
        item_vectors=vectors[users:],
        users=make_table([f"user-{number}" for number in range(users)], profiles=user_texts),
        items=make_table(
            [f"item-{number}" for number in range(items)], titles=titles, profiles=item_texts
        ),
        source=f"synthetic: {users} users, {items} items, {interactions} interactions, seed {seed}",
    )


def _integer(name: str, value: Any, low: int, high: int) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"synthesize: {name} must be an integer (got {value!r})")
    number = operator.index(value)
    if not low <= number <= high:
        raise ValueError(f"synthesize: {name} must be in [{low}, {high}] (got {number})")
    return number


def _make_world(rng: np.random.Generator, users: int, items: int) -> _World:
    # Some themes have more books and more readers than others.
    share = 1.0 / (np.arange(len(_THEMES)) + 10.0)
    share = rng.permutation(share / share.sum())
    rank = rng.permutation(items)
    weights = rng.dirichlet(np.full(_LIKED, 2.0), users)
    # Gumbel noise on the logarithm draws without replacement.
    liked = np.log(share) + rng.gumbel(size=(users, len(_THEMES)))
    return _World(
        first_theme=rng.choice(len(_THEMES), items, p=share),
        second_theme=rng.choice(len(_THEMES), items, p=share),
        popularity=(rank + _POPULARITY_SHIFT) ** -_POPULARITY_EXPONENT,
        liked_themes=np.argsort(-liked, axis=1, kind="stable")[:, :_LIKED],
        liked_until=np.cumsum(-np.sort(-weights, axis=1), axis=1),
    )


def _user_counts(rng: np.random.Generator, users: int, items: int, interactions: int) -> Ints:
    """Long-tailed numbers of interactions that add up, each from 5 to I."""
    activity = rng.lognormal(0.0, _ACTIVITY_SPREAD, users)
    counts = np.full(users, MIN_PER_USER, np.int64)
    while rest := interactions - int(counts.sum()):
        free = np.flatnonzero(counts < items)
        share = np.floor(activity[free] / activity[free].sum() * rest).astype(np.int64)
        if rest <= len(free):
            share[:] = 0
            share[np.argsort(-activity[free], kind="stable")[:rest]] = 1
        counts[free] = np.minimum(counts[free] + share, items)
    return counts


def _choose(world: _World, counts: Ints, seed: int) -> Ints:
    """Each user's items, all different, users in order; [interactions]."""
    urn = _Urn(world)
    # In blocks, so that memory does not grow with the draws of all users at once.
    blocks = np.searchsorted(np.cumsum(counts), np.arange(0, counts.sum(), _BLOCK_INTERACTIONS))
    bounds = np.unique(np.append(blocks, len(counts)))
    chosen = [
        _choose_block(urn, counts[start:end], start, np.random.default_rng([seed, 5, start]))
        for start, end in pairwise(bounds.tolist())
    ]
    return np.concatenate(chosen)


def _choose_block(urn: _Urn, counts: Ints, start: int, rng: np.random.Generator) -> Ints:
    items = len(urn.popularity)
    taken, need = np.empty(0, np.int64), counts.copy()
    for _ in range(_ROUNDS):
        owner = np.repeat(np.arange(len(counts)), need + need // 3)
        keys = owner * items + urn.draw(rng, owner + start)
        _, first = np.unique(np.concatenate([taken, keys]), return_index=True)
        fresh = np.sort(first[first >= len(taken)]) - len(taken)
        owner, keys = owner[fresh], keys[fresh]
        kept = _rank_within(owner, len(counts)) < need[owner]
        taken = np.concatenate([taken, keys[kept]])
        need -= np.bincount(owner[kept], minlength=len(counts))
    taken.sort()
    # Who still needs more has chosen most of what is liked: anything popular follows.
    needy = np.flatnonzero(need)
    step = max(1, _BLOCK_CELLS // items)
    filled = [
        _fill_up(urn.popularity, taken, needy[at : at + step], need[needy[at : at + step]], rng)
        for at in range(0, len(needy), step)
    ]
    return np.sort(np.concatenate([taken, *filled])) % items


def _fill_up(
    popularity: Floats, taken: Ints, users: Ints, need: Ints, rng: np.random.Generator
) -> Ints:
    """More (user, item) keys, exactly as many as needed, none of which is in `taken` (sorted)."""
    items = len(popularity)
    score = np.log(popularity) + rng.gumbel(size=(len(users), items))
    low, high = np.searchsorted(taken, users * items), np.searchsorted(taken, (users + 1) * items)
    score[np.repeat(np.arange(len(users)), high - low), taken[_ranges(low, high)] % items] = -np.inf
    order = np.argsort(-score, axis=1, kind="stable")
    row, rank = np.nonzero(np.arange(items) < need[:, None])
    keys: Ints = users[row] * items + order[row, rank]
    return keys


class _Urn:
    """Draws items for users: of a liked theme, of its topic, or of anything, by popularity."""

    def __init__(self, world: _World) -> None:
        self.world = world
        self.popularity = world.popularity
        items = len(world.popularity)
        anything = len(_THEMES) + len(TOPICS)
        group = np.concatenate(
            [
                world.first_theme,
                world.second_theme,
                len(_THEMES) + _TOPIC_OF[world.first_theme],
                np.full(items, anything),
            ]
        )
        weight = np.concatenate(
            [world.popularity, _SECOND_THEME * world.popularity, world.popularity, world.popularity]
        )
        order = np.argsort(group, kind="stable")
        self.item = np.tile(np.arange(items), 4)[order]
        self.until = np.cumsum(weight[order])
        bounds = np.searchsorted(group[order], np.arange(anything + 2))
        self.first, self.last = bounds[:-1], bounds[1:] - 1
        self.filled = self.last >= self.first
        self.anything = anything

    def draw(self, rng: np.random.Generator, users: Ints) -> Ints:
        """One item for each entry of `users`."""
        liked_until = self.world.liked_until[users]
        slot = (rng.random(len(users))[:, None] >= liked_until[:, :-1]).sum(axis=1)
        theme = self.world.liked_themes[users, slot]
        kind = rng.random(len(users))
        group = np.where(kind < _SAME_THEME, theme, len(_THEMES) + _TOPIC_OF[theme])
        group = np.where(kind < _SAME_THEME + _SAME_TOPIC, group, self.anything)
        # With few items some themes have none.
        group = np.where(self.filled[group], group, self.anything)
        first, last = self.first[group], self.last[group]
        before = np.where(first > 0, self.until[first - 1], 0.0)
        target = before + rng.random(len(users)) * (self.until[last] - before)
        drawn: Ints = self.item[
            np.clip(np.searchsorted(self.until, target, side="right"), first, last)
        ]
        return drawn


def _rank_within(owner: Ints, owners: int) -> Ints:
    """The position of each entry among those of its owner; `owner` ascends."""
    first: Ints = np.searchsorted(owner, np.arange(owners))
    return np.arange(len(owner)) - first[owner]


def _ranges(low: Ints, high: Ints) -> Ints:
    """Concatenates low[n]..high[n]-1."""
    length = high - low
    start = np.cumsum(length) - length
    positions: Ints = np.arange(length.sum()) + np.repeat(low - start, length)
    return positions


def _split(rng: np.random.Generator, owners: Ints, counts: Ints) -> Ints:
    """0 for training, 1 for validation, 2 for test; every user has all three."""
    shuffled = np.lexsort((rng.random(len(owners)), owners))
    held_out = np.rint(counts / 5).astype(np.int64)[owners]
    rank = _rank_within(owners, len(counts))
    part = np.empty(len(owners), np.int64)
    part[shuffled] = np.where(rank < held_out, 1, np.where(rank < 2 * held_out, 2, 0))
    return part


def _some_words(rng: np.random.Generator, themes: Ints, count: int) -> list[list[str]]:
    order = np.argsort(rng.random((len(themes), len(_WORDS[0]))), axis=1, kind="stable")
    return [
        [_WORDS[theme][at] for at in picks]
        for theme, picks in zip(themes.tolist(), order[:, :count].tolist(), strict=True)
    ]


def _item_texts(rng: np.random.Generator, world: _World) -> tuple[list[str], list[str]]:
    themes, seconds = world.first_theme, world.second_theme
    words, hints = _some_words(rng, themes, 4), _some_words(rng, seconds, 1)
    adjectives = rng.integers(len(ADJECTIVES), size=len(themes)).tolist()
    tones = rng.integers(len(TONES), size=len(themes)).tolist()
    titles, profiles = [], []
    for theme, second, (a, b, c, d), (hint,), adjective, tone in zip(
        themes.tolist(), seconds.tolist(), words, hints, adjectives, tones, strict=True
    ):
        topic, subject = _THEMES[theme]
        title = f"The {ADJECTIVES[adjective].capitalize()} {a.capitalize()}"
        titles.append(title)
        profiles.append(
            f"{title} is a {TONES[tone]} {topic} about {subject}: {a}, {b}, {c} and {d}."
            f" Readers of the {_THEMES[second][0]} may enjoy the {hint}."
        )
    return titles, profiles


def _user_texts(rng: np.random.Generator, world: _World) -> list[str]:
    words = [_some_words(rng, world.liked_themes[:, slot], 3 - slot) for slot in range(_LIKED)]
    texts = []
    for (first, second, third), (a, b, c), (d, e), (f,) in zip(
        world.liked_themes.tolist(), *words, strict=True
    ):
        texts.append(
            f"Most of all this reader enjoys a {_THEMES[first][0]} about {_THEMES[first][1]},"
            f" with {a}, {b} and {c}. Also reads the {_THEMES[second][0]} about"
            f" {_THEMES[second][1]}, with {d} and {e}, and sometimes {_THEMES[third][1]},"
            f" with {f}."
        )
    return texts
