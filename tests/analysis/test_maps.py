from __future__ import annotations

import sys

import numpy as np
import pytest
from sklearn.metrics import silhouette_score

from rlmrec_fast import analysis
from rlmrec_fast.errors import MissingExtraError

WORDS = ("dragons castle wizard", "murder detective alibi", "starship robot galaxy")


@pytest.fixture(scope="module")
def world() -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Three clumps of unequal size, and what their texts say."""
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat([0, 1, 2], [60, 40, 20]))
    text = 3 * np.eye(3, 8)[labels] + 0.3 * rng.normal(size=(120, 8))
    return text, labels, [f"A book of readers with {WORDS[label]}" for label in labels]


def test_clusters_are_found_ordered_by_size_and_named_by_their_words(world):
    text, labels, profiles = world
    found = analysis.cluster(text, profiles, clusters=3)
    np.testing.assert_array_equal(found.labels, labels)
    assert found.sizes.tolist() == [60, 40, 20]
    for name, words in zip(found.names, WORDS, strict=True):
        assert set(name.split(", ")) == set(words.split())
    assert analysis.cluster(text, clusters=3).names == ("cluster 1", "cluster 2", "cluster 3")
    assert analysis.cluster(text, ["the of"] * 120, clusters=1).names == ("cluster 1",)
    assert analysis.cluster(text[:2]).sizes.tolist() == [1, 1]


def test_the_silhouette_is_that_of_sklearn(world):
    text, labels, _ = world
    rng = np.random.default_rng(1)
    for table in (text, rng.normal(size=(120, 5))):
        for mine in (labels, rng.integers(0, 7, 120), np.arange(120) // 119):
            expected = silhouette_score(table, mine, metric="cosine")
            assert analysis.silhouette(table, mine) == pytest.approx(expected, abs=1e-10)
    assert np.isnan(analysis.silhouette(text, np.zeros(120, int)))


def test_maps_hold_every_space_and_its_numbers(world):
    text, labels, profiles = world
    free = np.random.default_rng(2).normal(size=(120, 6))
    found = analysis.map_spaces(
        text, {"same": 2 * text, "free": free}, profiles, method="pca", clusters=3
    )
    assert found.names == ("texts", "same", "free")
    assert found.points.shape == (3, 120, 2)
    np.testing.assert_allclose(found.points[0], found.points[1], atol=1e-6)
    expected = [silhouette_score(table, labels, metric="cosine") for table in (text, text, free)]
    np.testing.assert_allclose(found.silhouette, expected, atol=1e-10)
    assert found.purity[0] == 1
    assert found.purity[2] == pytest.approx(found.chance, abs=0.05)
    assert found.chance == pytest.approx((60 * 59 + 40 * 39 + 20 * 19) / (120 * 119))


def test_a_map_is_turned_to_lie_on_that_of_the_texts():
    rng = np.random.default_rng(3)
    text = rng.normal(size=(50, 2)) * [3, 1]
    turned = text @ np.array([[0.0, 1.0], [1.0, 0.0]])
    found = analysis.map_spaces(text, {"turned": turned}, method="pca")
    np.testing.assert_allclose(found.points[0], found.points[1], atol=1e-6)


def test_more_points_than_can_be_drawn_are_a_seeded_sample(world):
    text, _, _ = world
    found = analysis.map_spaces(text, {"same": text}, method="pca", max_points=30, seed=4)
    again = analysis.map_spaces(text, {"same": text}, method="pca", max_points=30, seed=4)
    assert found.points.shape == (2, 30, 2)
    assert (np.diff(found.rows) > 0).all()
    np.testing.assert_array_equal(found.rows, again.rows)
    assert len(found.clusters.labels) == 120


@pytest.mark.parametrize("method", ["umap", "pacmap"])
def test_clumps_stay_apart_in_the_plane(method, world):
    pytest.importorskip(method)
    text, labels, _ = world
    places = analysis.project_2d(text, method, seed=1)
    assert places.shape == (120, 2)
    assert silhouette_score(places, labels) > 0.5
    np.testing.assert_array_equal(places, analysis.project_2d(text, method, seed=1))


@pytest.mark.parametrize("rows", [1, 2, 9])
def test_a_few_rows_have_a_place_too(rows):
    table = np.random.default_rng(0).normal(size=(rows, 3))
    assert np.isfinite(analysis.project_2d(table)).all()
    assert analysis.project_2d(table[:, :1], "pca").shape == (rows, 2)


def test_a_missing_library_is_named_with_its_cure_and_pca_does_without(world, monkeypatch):
    text, _, _ = world
    for name, cure in (("umap", r"'rlmrec-fast\[analysis\]'"), ("pacmap", "pacmap")):
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(MissingExtraError, match=rf"`pip install {cure}` .*or choose pca"):
            analysis.project_2d(text, name)
        with pytest.raises(MissingExtraError, match="or choose pca"):
            analysis.map_spaces(text, {"a": text}, method=name)
    assert analysis.project_2d(text, "pca").shape == (120, 2)


def test_what_does_not_do_is_refused_by_name(world):
    text, _, profiles = world
    with pytest.raises(ValueError, match=r"method must be one of umap, pca, pacmap \(got 'tsne'\)"):
        analysis.project_2d(text, "tsne")
    with pytest.raises(ValueError, match=r"clusters must be at least 1 \(got 0\)"):
        analysis.cluster(text, clusters=0)
    with pytest.raises(ValueError, match=r"profiles must have 120 texts like text \(got 5\)"):
        analysis.cluster(text, profiles[:5])
    with pytest.raises(ValueError, match=r"max_points must be at least 1 \(got 0\)"):
        analysis.map_spaces(text, {"a": text}, max_points=0)
    with pytest.raises(ValueError, match=r"tables\['a'\] must have 120 rows"):
        analysis.map_spaces(text, {"a": text[:4]}, method="pca")
