from __future__ import annotations

import numpy as np
import pytest

from rlmrec_fast import analysis


@pytest.fixture(scope="module")
def found() -> analysis.Overlap:
    rng = np.random.default_rng(0)
    text = rng.normal(size=(60, 8))
    base = rng.normal(size=(60, 6))
    other = np.where(np.arange(60)[:, None] < 30, base, rng.normal(size=(60, 6)))
    return analysis.overlap(text, {"base": base, "con": text[:, :6], "gen": other}, ks=(8,))


def test_every_rule_takes_the_rows_it_names(found):
    degrees = np.arange(60)[::-1]
    chosen = analysis.cases(found, degrees=degrees, per_rule=2, rows=[17])
    by_rule: dict[str, list[int]] = {}
    for case in chosen:
        by_rule.setdefault(case.rule, []).append(case.row)
    assert list(by_rule) == [
        "chosen",
        "neighbours changed most",
        "neighbours changed least",
        "agreement with texts rose most",
        "agreement with texts fell most",
        "most popular",
        "coldest",
    ]
    assert len({case.row for case in chosen}) == len(chosen) == 13
    assert by_rule["chosen"] == [17]
    gained = found.jaccard[1:, 0].mean(axis=0) - found.jaccard[0, 0]
    assert by_rule["agreement with texts rose most"][0] == gained.argmax()
    near = {name: [set(row) for row in ids.tolist()] for name, ids in found.neighbors.items()}
    shared = [
        np.mean(
            [
                len(near["base"][row] & near[name][row]) / len(near["base"][row] | near[name][row])
                for name in ("con", "gen")
            ]
        )
        for row in range(60)
    ]
    left = [row for row in np.argsort(shared, kind="stable") if row != 17]
    assert by_rule["neighbours changed most"] == left[:2]
    taken = {case.row for case in chosen if case.rule != "most popular"}
    assert by_rule["most popular"][0] == min(set(range(60)) - taken)


def test_a_case_shows_the_nearest_and_which_of_them_are_shared(found):
    (case,) = (case for case in analysis.cases(found, rows=[5], shown=3) if case.row == 5)
    assert case.degree is None
    texts = found.text_neighbors[5].tolist()
    assert [row for row, _ in case.text_neighbors] == texts[:3]
    for name in found.names:
        mine = found.neighbors[name][5].tolist()
        assert case.neighbors[name] == tuple((row, row in texts) for row in mine[:3])
        assert case.overlap[name] == found.jaccard[found.names.index(name), 0, 5]
    anywhere = {row for name in found.names for row in found.neighbors[name][5].tolist()}
    assert [shared for _, shared in case.text_neighbors] == [row in anywhere for row in texts[:3]]


def test_a_single_table_is_compared_with_the_texts(found):
    chosen = analysis.cases(found, names=["con"], base="con", per_rule=1)
    index = found.jaccard[1, 0]
    assert [(case.rule, case.row) for case in chosen] == [
        ("agrees most with the texts", index.argmax()),
        ("agrees least with the texts", index.argmin()),
    ]


def test_what_does_not_exist_is_refused_by_name(found):
    with pytest.raises(ValueError, match=r"rows must be in \[0, 60\) \(got 60\)"):
        analysis.cases(found, rows=[60])
    with pytest.raises(ValueError, match=r"names must be of base, con, gen \(got 'far'\)"):
        analysis.cases(found, base="far")
