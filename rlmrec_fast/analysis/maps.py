"""Maps: every space drawn in the plane, coloured by what the texts are about.

k-means on the text vectors gives a few coarse labels. Where they stay together in the embedding,
the embedding knows what the texts say; two numbers tell so without the eye: the silhouette of the
labels and how many of a row's neighbours share its label.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from rlmrec_fast import ops
from rlmrec_fast.analysis.tables import Floats, Ints, Table, as_table, as_tables, directions
from rlmrec_fast.errors import MissingExtraError

TEXTS = "texts"
"""The name of the texts' space."""

METHODS = {"umap": "UMAP", "pca": "PCA", "pacmap": "PaCMAP"}

MAX_POINTS = 20_000
NEAREST = 10

_UMAP_NEIGHBORS = 15


class Clusters(NamedTuple):
    """Coarse labels of rows.

    Attributes:
        labels: int64 `[n]`, the largest cluster first.
        names: of the clusters.
    """

    labels: Ints
    names: tuple[str, ...]

    @property
    def sizes(self) -> Ints:
        """int64, rows in each cluster."""
        return np.bincount(self.labels, minlength=len(self.names))


@dataclass(frozen=True, eq=False)
class Maps:
    """Spaces in the plane, that of the texts first, S of them.

    Attributes:
        names: of the spaces.
        rows: int64 `[m]`, which rows are drawn.
        points: float64 `[S, m, 2]`.
        clusters: of all rows, by their texts.
        silhouette: float64 `[S]`, of the labels in the whole space by cosine; NaN of one cluster.
        purity: float64 `[S]`, the mean share of a row's nearest that have its label.
        chance: what purity would be without any relation.
        nearest: how many neighbours purity looks at.
        method: of projection.
    """

    names: tuple[str, ...]
    rows: Ints
    points: Floats
    clusters: Clusters
    silhouette: Floats
    purity: Floats
    chance: float
    nearest: int
    method: str


def map_spaces(
    text: Table,
    tables: Mapping[str, Table],
    profiles: Sequence[str | None] | None = None,
    *,
    method: str = "umap",
    clusters: int = 5,
    max_points: int = MAX_POINTS,
    seed: int = 0,
) -> Maps:
    """Clusters the texts and projects every space to the plane.

    Args:
        text: `[n, t]` text vectors, numpy or torch floats.
        tables: name -> `[n, d]`, row for row of the same things.
        profiles: their texts, which name the clusters.
        method: see `project_2d`.
        clusters: how many.
        max_points: most rows to draw; of more a seeded sample is drawn.
        seed: decides all randomness.

    Raises:
        MissingExtraError: the method's library is not installed; the message has the cure.
        TypeError: a table is not of floats.
        ValueError: tables do not match or hold NaN or infinity, or an argument is out of range.
    """
    texts, others = as_tables("map_spaces", text, tables)
    if max_points < 1:
        raise ValueError(f"map_spaces: max_points must be at least 1 (got {max_points})")
    _method(method)
    spaces = {TEXTS: texts, **others}
    found = cluster(texts, profiles, clusters=clusters, seed=seed)
    rows = np.arange(len(texts))
    if len(rows) > max_points:
        rows = np.sort(np.random.default_rng([seed, 2]).permutation(rows)[:max_points])
    drawn = {name: table[torch.from_numpy(rows)] for name, table in spaces.items()}
    points: list[Floats] = []
    for table in drawn.values():
        place = project_2d(table, method, seed=seed)
        points.append(_turned(place, points[0]) if points else place)
    nearest = min(NEAREST, len(texts) - 1)
    sizes = found.sizes
    return Maps(
        names=tuple(spaces),
        rows=rows,
        points=np.stack(points),
        clusters=found,
        silhouette=np.array([silhouette(table, found.labels) for table in spaces.values()]),
        purity=np.array([_purity(table, found.labels, nearest) for table in spaces.values()]),
        chance=float((sizes * (sizes - 1)).sum() / (len(texts) * (len(texts) - 1))),
        nearest=nearest,
        method=method,
    )


def cluster(
    text: Table, profiles: Sequence[str | None] | None = None, *, clusters: int = 5, seed: int = 0
) -> Clusters:
    """k-means on the directions of text vectors.

    Args:
        text: `[n, t]`.
        profiles: n texts, whose most characteristic words name the clusters.
        clusters: how many, at least 1; fewer where there are fewer different rows.
        seed: of the first centers.

    Raises:
        ValueError: an argument is out of range.
    """
    from sklearn.cluster import KMeans

    unit = directions(as_table("cluster", "text", text))
    if clusters < 1:
        raise ValueError(f"cluster: clusters must be at least 1 (got {clusters})")
    if profiles is not None and len(profiles) != len(unit):
        raise ValueError(
            f"cluster: profiles must have {len(unit)} texts like text (got {len(profiles)})"
        )
    count = min(clusters, len(np.unique(unit, axis=0)))
    with one_thread():
        raw = KMeans(count, n_init=5, random_state=seed % 2**32).fit(unit).labels_
    order = np.argsort(-np.bincount(raw, minlength=count), kind="stable")
    labels = np.argsort(order)[raw].astype(np.int64)
    names = tuple(f"cluster {at + 1}" for at in range(count))
    if profiles is not None and any(profiles):
        names = _name_clusters(labels, [text or "" for text in profiles], names)
    return Clusters(labels, names)


def project_2d(table: Table, method: str = "umap", *, seed: int = 0) -> Floats:
    """Places the rows of a table in the plane, so that rows of near directions are near.

    Args:
        table: `[n, d]`.
        method: `umap` (umap-learn, on exact neighbours by cosine), `pca` or `pacmap`
            (pacmap).
        seed: decides all randomness.

    Returns:
        float64 `[n, 2]`.

    Raises:
        MissingExtraError: the method's library is not installed; the message has the cure.
        ValueError: the method is unknown, or the table does not do.
    """
    values = as_table("project_2d", "table", table)
    project = _method(method)
    if len(values) <= _UMAP_NEIGHBORS or method == "pca":
        return _pca(values)
    with one_thread():
        return project(values, seed % 2**32).astype(np.float64)


def silhouette(table: Table, labels: Ints) -> float:
    """The mean silhouette of labels by cosine distance, in linear time; NaN of fewer than two.

    The mean distance to a cluster is one minus the product with the mean of its directions.
    """
    unit = directions(as_table("silhouette", "table", table))
    labels = np.asarray(labels)
    sizes = np.bincount(labels)
    if (sizes > 0).sum() < 2:
        return float("nan")
    sums = np.stack([unit[labels == at].sum(axis=0) for at in range(len(sizes))])
    rows = np.arange(len(unit))
    with one_thread():
        products = unit @ sums.T
    own = products[rows, labels] - (unit * unit).sum(axis=1)
    inside = 1 - own / np.maximum(sizes[labels] - 1, 1)
    distance = 1 - products / np.maximum(sizes, 1)
    distance[:, sizes == 0] = np.inf
    distance[rows, labels] = np.inf
    outside = distance.min(axis=1)
    larger = np.maximum(inside, outside)
    score = np.where(larger > 0, (outside - inside) / np.where(larger > 0, larger, 1), 0.0)
    return float(np.where(sizes[labels] > 1, score, 0.0).mean())


@contextmanager
def one_thread() -> Iterator[None]:
    """Keeps BLAS and OpenMP to one thread: with another number they add in another order."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        yield


def _method(name: str) -> Callable[[Tensor, int], Floats]:
    if name == "pca":
        return lambda table, _: _pca(table)
    if name not in METHODS:
        raise ValueError(f"project_2d: method must be one of {', '.join(METHODS)} (got {name!r})")
    cure = {"umap": "'rlmrec-fast[analysis]'", "pacmap": "pacmap"}[name]
    try:
        library = import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise MissingExtraError(
            f"{error}; `pip install {cure}` brings it, or choose pca"
        ) from error
    project = _umap if name == "umap" else _pacmap
    return lambda table, seed: project(library, table, seed)


def _pca(table: Tensor) -> Floats:
    unit = directions(table)
    centered = unit - unit.mean(axis=0)
    with one_thread():
        axes = np.linalg.eigh(centered.T @ centered)[1][:, :-3:-1]
        # An axis may point either way: towards its largest element.
        axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
        places: Floats = centered @ axes
    return np.pad(places, ((0, 0), (0, 2 - places.shape[1])))


def _umap(umap: Any, table: Tensor, seed: int) -> Floats:
    import warnings

    unit = directions(table)
    near = ops.neighbors(table, _UMAP_NEIGHBORS - 1).numpy()
    cosine = np.einsum("nd,nkd->nk", unit, unit[near])
    rows = np.arange(len(unit))[:, None]
    distance = np.hstack([np.zeros_like(rows), np.clip(1 - cosine, 0, 2)]).astype(np.float32)
    start = _pca(table)
    start *= 10 / (np.abs(start).max() or 1.0)
    with warnings.catch_warnings():
        # It misses what the projection of further rows would need, and threads.
        warnings.simplefilter("ignore", UserWarning)
        model = umap.UMAP(
            n_neighbors=_UMAP_NEIGHBORS,
            metric="cosine",
            n_epochs=200,
            init=start.astype(np.float32),
            random_state=seed,
            n_jobs=1,
            precomputed_knn=(np.hstack([rows, near]), distance, None),
        )
        places: Floats = model.fit_transform(unit.astype(np.float32))
    return places


def _pacmap(pacmap: Any, table: Tensor, seed: int) -> Floats:
    model = pacmap.PaCMAP(n_components=2, random_state=seed)
    places: Floats = model.fit_transform(directions(table).astype(np.float32), init="pca")
    return places


def _turned(points: Floats, like: Floats) -> Floats:
    """The points rotated or mirrored so that they lie as near as can be to others (Procrustes)."""
    own, other = points - points.mean(axis=0), like - like.mean(axis=0)
    left, _, right = np.linalg.svd(own.T @ other)
    turned: Floats = own @ (left @ right)
    return turned


def _purity(table: Tensor, labels: Ints, nearest: int) -> float:
    near = ops.neighbors(table, nearest).numpy()
    return float((labels[near] == labels[:, None]).mean())


def _name_clusters(
    labels: Ints, profiles: Sequence[str], names: Sequence[str], words: int = 3
) -> tuple[str, ...]:
    """The words by which each cluster's texts differ most from the others'."""
    from sklearn.feature_extraction.text import CountVectorizer

    counter = CountVectorizer(
        stop_words="english", binary=True, token_pattern=r"(?u)\b[^\W\d_]{3,}\b", max_features=5000
    )
    try:
        present = counter.fit_transform(profiles)
    except ValueError:  # no words but stop words
        return tuple(names)
    vocabulary = counter.get_feature_names_out()
    sizes = np.bincount(labels, minlength=len(names))
    counts = np.stack([present[labels == at].sum(axis=0).A1 for at in range(len(names))])
    inside = (counts + 0.5) / (sizes[:, None] + 1)
    outside = (counts.sum(axis=0) - counts + 0.5) / (len(labels) - sizes[:, None] + 1)
    # How much a word tells in a cluster: often there, and more often than elsewhere.
    score = inside * np.log(inside / outside)
    found = []
    for name, row in zip(names, score, strict=True):
        picked: list[str] = []
        for at in np.argsort(-row, kind="stable"):
            if len(picked) == words or row[at] <= 0:
                break
            if not any(_akin(vocabulary[at], other) for other in picked):
                picked.append(str(vocabulary[at]))
        found.append(", ".join(picked) or name)
    return tuple(found)


def _akin(word: str, other: str) -> bool:
    """Whether two words are forms of one, such as a plural."""
    stem = re.compile(r"(ies|ing|ed|es|s|y|al|ic)$")
    return stem.sub("", word) == stem.sub("", other)
