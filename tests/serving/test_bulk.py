from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from rlmrec_fast.errors import DatasetError
from rlmrec_fast.serving import Catalog, Exclusions, Ids, bulk, rank_blocks
from rlmrec_fast.serving.catalog import read_ids


def ranked(run, users, k, exclusions=None, catalog=None):
    blocks = list(rank_blocks(run, catalog or Catalog.of(run), users, k, exclusions))
    found = [items.tolist() for block in blocks for items in block.items]
    assert [user for block in blocks for user in block.users] == list(users)
    return found


def expected(run, user, k, left_out):
    """The best items by the book."""
    scores = run.item_embedding @ run.user_embedding[user]
    scores[sorted(left_out)] = -torch.inf
    best = scores.topk(k)
    return best.indices.masked_fill(best.values == -torch.inf, -1).tolist()


def taken(run, user, *splits):
    return {int(i) for split in splits for i in getattr(run.dataset, split)[[user]].indices}


def test_many_users_get_what_each_gets_alone(run):
    users = [149, 3, 3, 70]
    found = ranked(run, users, 6)
    for user, items in zip(users, found, strict=True):
        assert items == [item.item for item in run.recommend(user, 6)]
        assert items == expected(run, user, 6, taken(run, user, "train"))


def test_the_size_of_blocks_does_not_matter(run, monkeypatch):
    whole = ranked(run, range(150), 5)
    monkeypatch.setattr(bulk, "BLOCK", 7)
    assert ranked(run, range(150), 5) == whole
    assert ranked(run, [], 5) == []


@pytest.mark.parametrize("seen", [False, True])
@pytest.mark.parametrize("held_out", [False, True])
def test_what_is_excluded_is_left_out(run, seen, held_out):
    splits = ["train"] * seen + ["validation", "test"] * held_out
    mine = {9: {0, 1, 2, 3}, 10: {79}}
    exclusions = Exclusions(frozenset({5, 6}), mine, seen, held_out)
    for user, items in zip((9, 11), ranked(run, (9, 11), 80, exclusions), strict=True):
        left_out = taken(run, user, *splits) | {5, 6} | mine.get(user, set())
        assert items == expected(run, user, 80, left_out)


def test_new_items_compete_with_the_others(run):
    best = 10 * run.user_embedding[[4]]
    catalog = Catalog.of(run).with_new(["new"], ["New"], best)
    ((first, *_),) = ranked(run, [4], 3, catalog=catalog)
    assert first == 80
    (block,) = rank_blocks(run, catalog, [4], 3)
    ((record, other, _),) = bulk.as_records(block, catalog)
    assert record["item"] is None
    assert (record["id"], record["title"]) == ("new", "New")
    assert other["item"] is not None
    with pytest.raises(ValueError, match=r"ids of their own \(got 'new'"):
        catalog.with_new(["new"], [None], best)


def test_files_hold_ids_titles_and_scores(run, tmp_path):
    catalog = Catalog.of(run)
    ids = Ids.of(run.dataset.users, 150, "user", "toy")
    users = [3, 140]
    for name in ("a/r.jsonl", "r.parquet"):
        assert bulk.write(tmp_path / name, rank_blocks(run, catalog, users, 4), ids, catalog) == 8
    lines = [json.loads(line) for line in (tmp_path / "a/r.jsonl").read_text().splitlines()]
    table = pl.read_parquet(tmp_path / "r.parquet")
    assert table.columns == ["user", "rank", "item", "title", "score"]
    for user, line in zip(users, lines, strict=True):
        assert line["user"] == run.dataset.users["id"][user]
        items = run.recommend(user, 4)
        assert line["items"] == [item._asdict() for item in items]
        rows = table.filter(pl.col("user") == line["user"]).sort("rank")
        assert rows["item"].to_list() == [item.id for item in items]
        assert rows["title"].to_list() == [item.title for item in items]
        assert rows["score"].to_list() == [item.score for item in items]
        assert rows["rank"].to_list() == [1, 2, 3, 4]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "r.parquet"]


def test_a_file_appears_when_it_is_whole(run, tmp_path):
    def broken():
        yield from rank_blocks(run, Catalog.of(run), [1], 3)
        raise KeyboardInterrupt

    (tmp_path / "r.jsonl").write_text("before")
    ids = Ids.of(run.dataset.users, 150, "user", "toy")
    with pytest.raises(KeyboardInterrupt):
        bulk.write(tmp_path / "r.jsonl", broken(), ids, Catalog.of(run))
    assert (tmp_path / "r.jsonl").read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["r.jsonl"]


def test_nobody_left_to_rank_for_gives_an_empty_table(run, tmp_path):
    ids = Ids.of(None, 150, "user", "toy")
    assert bulk.write(tmp_path / "r.parquet", [], ids, Catalog.of(run)) == 0
    assert pl.read_parquet(tmp_path / "r.parquet").columns[0] == "user"


def test_wrong_arguments_are_refused(run, tmp_path):
    with pytest.raises(ValueError, match=r"k must be at least 1 \(got 0\)"):
        ranked(run, [1], 0)
    with pytest.raises(ValueError, match=r"user must be in \[0, 150\) \(got 150\)"):
        ranked(run, [1, 150], 1)
    with pytest.raises(ValueError, match=r"must end in .jsonl or .parquet \(got .*r.csv"):
        bulk.write(tmp_path / "r.csv", [], Ids([], "user", ""), Catalog.of(run))


def test_ids_are_found_or_refused_with_examples():
    ids = Ids(["a", "b", "c", "d"], "user", "toy")
    assert ids.find(["c", "a", "c"]) == [2, 0, 2]
    with pytest.raises(ValueError, match=r"original id of toy, such as 'a', 'b', 'c' \(got 'x'"):
        ids.find(["a", "x"])
    assert Ids.of(None, 3, "item", "toy").find(["2"]) == [2]


def test_ids_are_read_from_lists_and_tables(tmp_path: Path):
    def write(name, text):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    assert read_ids(write("a.txt", "x\n\n y \n"), "user", "item") == [("", "x"), ("", "y")]
    table = "item_id,user_id,note\nx,u,1\ny,,2\n,u,3\n"
    assert read_ids(write("a.csv", table), "user", "item") == [("u", "x"), ("", "y")]
    assert read_ids(write("b.csv", "Item,n\nx,1\n"), "item") == [("x",)]
    assert read_ids(write("a.jsonl", '{"id": 7}\n'), "item") == [("7",)]
    with pytest.raises(DatasetError, match=r"must have a column item, or one id a line"):
        read_ids(write("c.csv", "user,n\nx,1\n"), "user", "item")
    with pytest.raises(DatasetError, match=r"every line must be a row \(got line 3"):
        read_ids(write("d.csv", "item,n\nx,1\ny\n"), "item")
    with pytest.raises(FileNotFoundError, match="must be a file"):
        read_ids(tmp_path / "none.txt", "item")


def test_numpy_numbers_do(run):
    assert ranked(run, np.array([3, 4]).tolist(), 2) == ranked(run, [3, 4], 2)
