from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex

from rlmrec_fast import analysis
from rlmrec_fast.analysis import style


@pytest.fixture(scope="module")
def spaces() -> tuple[np.ndarray, dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    text = rng.normal(size=(80, 6))
    return text, {"a": text[:, :4], "b": rng.normal(size=(80, 5)), "c": text + 1}


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    plt.switch_backend("agg")
    yield
    plt.close("all")


def test_every_line_shows_the_data_in_the_colour_of_its_table(spaces):
    found = analysis.overlap(*spaces, ks=(5, 10))
    looks = style.looks(found.names)
    axes = analysis.plot_cdf(found)
    lines = {line.get_label(): line for line in axes.get_lines()}
    assert set(lines) == {"a", "b", "c", "chance"}
    curves = found.cdf(points=800)
    for name, y in zip(found.names, curves.y, strict=True):
        assert to_hex(lines[name].get_color()) == looks[name].colour
        np.testing.assert_array_equal(lines[name].get_ydata(), y)
    assert lines["chance"].get_xdata()[0] == found.chance[-1]

    axes = analysis.plot_overlap(found)
    heights = np.array([[bar.get_height() for bar in bars] for bars in axes.containers[::2]])
    np.testing.assert_array_equal(heights, found.mean)
    steps = analysis.plot_histogram(found, k=5).patches
    np.testing.assert_array_equal([step.get_data().values for step in steps], found.histogram(5).y)


def test_the_trend_draws_bins_with_pairs_enough_and_says_which_pairs(spaces):
    found = analysis.trend(*spaces)
    axes = analysis.plot_trend(found)
    line = axes.get_lines()[0]
    shown = found.pairs >= 20
    assert 0 < shown.sum() < (found.pairs > 0).sum()
    np.testing.assert_array_equal(line.get_xdata(), found.centers[shown])
    np.testing.assert_array_equal(line.get_ydata(), found.mean[0, shown])
    assert axes.get_title(loc="left") == "all 3,160 pairs"
    assert f"a: slope {found.slope[0].value:.2f}" == line.get_label()


def test_groups_and_maps_are_drawn_on_given_axes(spaces):
    text, tables = spaces
    figure, grid = plt.subplots(1, 2)
    groups = analysis.by_degree({"a": text[:, 0]}, np.arange(80), groups=4)
    assert analysis.plot_groups(groups, axes=grid[0], chance=0.5) is grid[0]
    assert [tick.get_text() for tick in grid[0].get_xticklabels()] == list(groups.labels)
    maps = analysis.map_spaces(text, tables, method="pca")
    assert analysis.plot_map(maps, "b", grid[1]) is grid[1]
    assert len(figure.axes) == 2
    assert f"purity {maps.purity[2]:.3f}" in grid[1].get_title()
    assert len(analysis.plot_maps(maps).axes) == 4
    with pytest.raises(ValueError, match="name must be one of texts, a, b, c"):
        analysis.plot_map(maps, "z")


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def test_colours_stand_out_from_a_light_and_a_dark_page():
    for colour in style.COLOURS[:3]:
        assert 1.05 / (luminance(colour) + 0.05) >= 3
        assert (luminance(colour) + 0.05) / (luminance("#14171c") + 0.05) >= 3


def test_a_variant_has_one_colour_whatever_it_is_drawn_with():
    runs = {"x": ("lightgcn", "none"), "y": ("sgl", "none"), "z": ("sgl", "generative")}
    looks = style.looks_of_runs(runs)
    assert looks["x"].colour == looks["y"].colour == style.ALIGNMENT_COLOURS["none"]
    assert looks["x"].dash != looks["y"].dash
    assert looks["z"] == (style.ALIGNMENT_COLOURS["generative"], looks["y"].dash)
    assert style.looks_of_runs({"z": runs["z"]})["z"].colour == looks["z"].colour
