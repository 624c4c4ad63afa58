from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from small_studies import small_grid

from rlmrec_fast.analysis.overlap_table import overlap_table
from rlmrec_fast.reproduce.grid import Found, find_result
from rlmrec_fast.reproduce.results import (
    METRICS,
    compare,
    comparisons,
    load,
    overlaps,
    result_rows,
    user_metrics,
)


def results(cells) -> dict[str, Found]:
    found = {cell.name: find_result(cell) for cell in cells}
    return {name: run for name, run in found.items() if run is not None}


@pytest.mark.parametrize("split", ["test", "validation"])
def test_the_mean_over_users_is_what_evaluation_gives(trained, split: str) -> None:
    run = load(trained[1].source, results(trained)[trained[1].name])
    expected = run.evaluate(split)
    found = user_metrics(run, split)
    assert list(found) == list(METRICS) == list(expected)
    for name, values in found.items():
        np.testing.assert_allclose(values.mean(), expected[name], rtol=1e-6)


def test_every_users_metrics_are_those_written_out(trained) -> None:
    run = load(trained[0].source, results(trained)[trained[0].name])
    found = user_metrics(run)
    scores = (run.user_embedding @ run.item_embedding.T).detach().numpy().astype(np.float64)
    train, test = run.dataset.train.toarray() > 0, run.dataset.test.toarray() > 0
    users = np.flatnonzero(test.any(axis=1))
    for place, user in enumerate(users):
        order = np.argsort(np.where(train[user], np.inf, -scores[user]), kind="stable")
        order = order[: (~train[user]).sum()]
        for k in (5, 10, 20):
            hits = test[user][order[:k]]
            ideal = sum(1 / math.log2(n + 2) for n in range(min(k, test[user].sum())))
            gain = sum(hit / math.log2(n + 2) for n, hit in enumerate(hits))
            assert found[f"recall@{k}"][place] == pytest.approx(hits.sum() / test[user].sum())
            assert found[f"ndcg@{k}"][place] == pytest.approx(gain / ideal)


def test_rows_are_means_and_sample_deviations_over_seeds(trained) -> None:
    found = results(trained)
    rows = result_rows(trained, found)
    assert [(row.model, row.align, row.seeds) for row in rows] == [
        ("lightgcn", "none", (1, 2)),
        ("lightgcn", "contrastive", (1, 2)),
    ]
    for row in rows:
        runs = [found[cell.name].result for cell in trained if cell.settings.align == row.align]
        for name in METRICS:
            values = [run["test"][name] for run in runs]
            assert row.means[name] == pytest.approx(np.mean(values))
            assert row.deviations[name] == pytest.approx(np.std(values, ddof=1))
        assert row.best_epoch == np.mean([run["best_epoch"] for run in runs])
        assert row.seconds == pytest.approx(np.mean([run["seconds"] for run in runs]))
    del found[trained[3].name]
    single = result_rows(trained, found)[1]
    assert (single.seeds, single.deviations) == ((1,), {})
    assert result_rows(trained, {}) == []


def test_tests_are_paired_and_two_sided() -> None:
    rng = np.random.default_rng(0)
    first = rng.random(400)
    second = first + 0.05 + 0.3 * rng.standard_normal(400)
    difference = second - first
    t = difference.mean() / (difference.std(ddof=1) / 20)
    t_test, wilcoxon = compare(first, second)
    # With 399 degrees of freedom t is nearly normal.
    assert t_test == pytest.approx(math.erfc(abs(t) / math.sqrt(2)), rel=0.1)
    ranks = np.argsort(np.argsort(np.abs(difference))) + 1
    w = ranks[difference > 0].sum()
    z = (w - 400 * 401 / 4) / math.sqrt(400 * 401 * 801 / 24)
    assert wilcoxon == pytest.approx(math.erfc(abs(z) / math.sqrt(2)), rel=0.1)
    assert compare(second, first) == pytest.approx((t_test, wilcoxon))
    assert compare(first, rng.permutation(first))[0] > 0.01


def test_degenerate_tests_have_an_answer() -> None:
    values = np.arange(10.0)
    assert compare(values, values) == (1.0, 1.0)
    assert compare(values[:1], values[1:2]) == (1.0, 1.0)
    t_test, wilcoxon = compare(values, values + 1)
    assert t_test == 0
    assert 0 < wilcoxon < 0.01
    sparse = np.zeros(500)
    sparse[3] = 1
    assert all(0 < p <= 1 for p in compare(np.zeros(500), sparse))


def test_comparisons_are_over_the_seeds_that_both_have(trained) -> None:
    found = results(trained)
    rows = comparisons(trained[0].source, trained, found)
    assert [row.metric for row in rows] == list(METRICS)
    assert {(row.align, row.seeds) for row in rows} == {("contrastive", (1, 2))}
    by_name = {cell.name: user_metrics(load(cell.source, found[cell.name])) for cell in trained}
    for row in rows:
        base, aligned = (
            np.mean([by_name[f"toy-lightgcn{name}-{seed}"][row.metric] for seed in (1, 2)], axis=0)
            for name in ("", "-contrastive")
        )
        assert (row.backbone, row.aligned) == pytest.approx((base.mean(), aligned.mean()))
        assert (row.t_test, row.wilcoxon) == compare(base, aligned)
        assert row.gain == pytest.approx(aligned.mean() / base.mean() - 1)
        assert row.users == len(base)
    assert replace(rows[0], backbone=0.0).gain is None
    del found["toy-lightgcn-1"]
    assert {row.seeds for row in comparisons(trained[0].source, trained, found)} == {(2,)}
    del found["toy-lightgcn-2"]
    assert comparisons(trained[0].source, trained, found) == []


def test_the_overlap_is_the_reports(trained, data, tmp_path) -> None:
    found = results(trained)
    (row,) = overlaps(trained[0].source, trained, found, k=10)
    runs = [load(cell.source, found[cell.name]) for cell in trained]
    assert [row] == overlap_table(runs, 10)
    assert row.runs == {"none": 2, "contrastive": 2}
    assert len(overlaps(trained[0].source, trained, found, k=1000)) == 1, (
        "k is cut to what there is"
    )
    cells = small_grid(data, tmp_path)
    assert overlaps(cells[0].source, cells, {}) == []
