from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from rlmrec_fast import analysis
from rlmrec_fast.analysis.groups import group_by_degree
from rlmrec_fast.training.evaluation import evaluate


def test_equals_stay_together_and_the_cold_are_apart():
    degrees = np.array([0, 4, 1, 1, 1, 2, 9, 0, 5, 7, 6])
    group, labels = group_by_degree(degrees, 3)
    assert labels == ("0", "1", "2-5", "6-9")
    assert group.tolist() == [0, 2, 1, 1, 1, 2, 3, 0, 2, 3, 3]
    assert group_by_degree(np.array([3, 3, 3]), 10)[1] == ("3",)
    assert group_by_degree(np.arange(1, 101), 10)[1][::9] == ("1-10", "91-100")


def test_means_and_intervals_are_those_of_each_group():
    rng = np.random.default_rng(0)
    degrees = rng.integers(1, 50, 500)
    values = rng.random(500)
    found = analysis.by_degree({"a": values, "b": 2 * values}, degrees, groups=5)
    group, labels = group_by_degree(degrees, 5)
    assert found.labels == labels
    assert found.names == ("a", "b")
    for at in range(len(labels)):
        mine = values[group == at]
        assert found.sizes[at] == len(mine)
        assert found.mean[:, at] == pytest.approx([mine.mean(), 2 * mine.mean()])
        error = 1.96 * mine.std(ddof=1) / np.sqrt(len(mine))
        assert found.high[0, at] - found.mean[0, at] == pytest.approx(error, rel=1e-3)


def test_weights_pool_and_the_unknown_count_nowhere():
    degrees = np.array([1, 1, 1, 8, 8])
    values = np.array([0.5, 1.0, np.nan, np.nan, np.nan])
    found = analysis.by_degree({"a": values}, degrees, weights=np.array([3, 1, 9, 0, 1]))
    assert found.mean[0, 0] == pytest.approx((3 * 0.5 + 1) / 4)
    assert np.isnan(found.mean[0, 1])


def test_what_is_found_adds_up_to_the_recall_of_evaluation():
    rng = np.random.default_rng(1)
    users, items = torch.randn(40, 6), torch.randn(30, 6)
    train, test = (sp.csr_array((rng.random((40, 30)) < share) * 1.0) for share in (0.2, 0.1))
    test = sp.csr_array(test.multiply(train.toarray() == 0))
    found = analysis.found_in_top(users, items, train, test, k=10)
    held_out = test.sum(axis=1)  # the matrix stores zeros, too
    assert np.isnan(found.users[held_out == 0]).all()
    expected = evaluate(users, items, train, test, (10,))["recall@10"]
    assert np.nanmean(found.users) == pytest.approx(expected, rel=1e-12)
    hits = np.nansum(found.users * held_out)
    assert np.nansum(found.items * found.held_out_of_items) == pytest.approx(hits)
    assert found.held_out_of_items.tolist() == test.sum(axis=0).tolist()


def test_what_does_not_fit_is_refused_by_name():
    degrees = np.array([1, 2])
    for arguments, words, message in (
        (({}, degrees), {}, "values must name at least one measure"),
        (({"a": [1.0]}, degrees), {}, r"values\['a'\] must have shape \(2,\) like degrees"),
        (({"a": [1.0, 2.0]}, degrees), {"groups": 0}, "groups must be at least 1"),
        (({"a": [1.0, 2.0]}, degrees), {"confidence": 2}, r"confidence must be in \(0, 1\)"),
    ):
        with pytest.raises(ValueError, match=rf"^by_degree: {message}"):
            analysis.by_degree(*arguments, **words)
    matrix = sp.csr_array((3, 4))
    with pytest.raises(ValueError, match=r"^found_in_top: train must have shape \(3, 5\)"):
        analysis.found_in_top(torch.ones(3, 2), torch.ones(5, 2), matrix, matrix)
