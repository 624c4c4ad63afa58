from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp

from rlmrec_fast.data.interactions import BadLimit
from rlmrec_fast.data.prepare import Plan, prepare
from rlmrec_fast.data.splits import Split
from rlmrec_fast.errors import DatasetError

SPLITS = ("train", "validation", "test")


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def plain(paths: list[Path], **options: object) -> Plan:
    return Plan(**{"interactions": paths, "user_core": 1, "item_core": 1} | options)


def pairs_of(dataset, *splits: str) -> set[tuple[str, str]]:
    """The interactions by original id."""
    users, items = dataset.users["id"], dataset.items["id"]
    found = set()
    for split in splits or SPLITS:
        matrix = getattr(dataset, split).tocoo()
        found |= {(users[int(u)], items[int(i)]) for u, i in zip(*matrix.coords, strict=True)}
    return found


def peeled(pairs: set[tuple[str, str]], user_core: int, item_core: int) -> set[tuple[str, str]]:
    """The k-core by the book."""
    while True:
        users = pl.Series([user for user, _ in pairs]).value_counts().rows()
        items = pl.Series([item for _, item in pairs]).value_counts().rows()
        good_users = {name for name, count in users if count >= user_core}
        good_items = {name for name, count in items if count >= item_core}
        kept = {(u, i) for u, i in pairs if u in good_users and i in good_items}
        if kept == pairs:
            return kept
        pairs = kept


@pytest.fixture
def ratings(tmp_path: Path) -> Path:
    """3,000 ratings of 60 users with 40 items, some pairs repeated."""
    rng = np.random.default_rng(3)
    frame = pl.DataFrame(
        {
            "reviewerID": [f"u{n}" for n in rng.integers(0, 60, 3000) ** 2 // 60],
            "asin": [f"i{n}" for n in rng.integers(0, 40, 3000) ** 2 // 40],
            "overall": rng.integers(1, 6, 3000) * 1.0,
            "unixReviewTime": rng.integers(10**9, 2 * 10**9, 3000),
        }
    )
    frame.write_csv(tmp_path / "ratings.csv")
    return tmp_path / "ratings.csv"


@pytest.mark.parametrize("cores", [(1, 1), (5, 5), (3, 25), (25, 3)])
def test_what_is_left_is_the_core_of_the_distinct_pairs_rated_well(ratings, cores):
    frame = pl.read_csv(ratings)
    good = set(frame.filter(pl.col("overall") >= 3)[["reviewerID", "asin"]].rows())
    expected = peeled(good, *cores)
    dataset, report = prepare(Plan([ratings], user_core=cores[0], item_core=cores[1]))
    assert pairs_of(dataset) == expected
    read, rated, repeated, core = report.steps
    low = frame.filter(pl.col("overall") < 3).height
    assert (read.interactions, rated.removed) == (3000, low)
    assert repeated.removed == 3000 - low - len(good)
    assert core.removed == len(good) - len(expected)
    assert core.interactions == sum(report.splits.values()) == len(expected)
    assert core.users == dataset.num_users == len({user for user, _ in expected})
    assert core.items == dataset.num_items == len({item for _, item in expected})
    assert dataset.source.startswith("prepared from ratings.csv: ratings >= 3, ")


def test_every_rating_counts_on_request(ratings):
    frame = pl.read_csv(ratings)
    dataset, report = prepare(plain([ratings], min_rating=None))
    assert pairs_of(dataset) == set(frame[["reviewerID", "asin"]].rows())
    assert [step.name for step in report.steps] == ["read", "repeated", "k-core of 1 and 1"]
    assert "ratings" not in dataset.source.split(":")[1]


def test_splits_are_disjoint_and_shared_out_by_user(ratings):
    dataset, _ = prepare(Plan([ratings]))
    parts = [pairs_of(dataset, split) for split in SPLITS]
    assert sum(map(len, parts)) == len(pairs_of(dataset))
    sizes = [np.diff(getattr(dataset, split).indptr) for split in SPLITS]
    shares = np.array(sizes) / np.sum(sizes, axis=0)
    assert (shares.min(axis=1) > 0.1).all()
    assert shares.mean(axis=1) == pytest.approx([0.6, 0.2, 0.2], abs=0.02)


def test_by_time_the_earliest_of_repeated_interactions_counts(tmp_path):
    rows = "a,x,1\na,y,2\na,z,3\na,v,4\na,w,5\na,x,9\n"
    path = write(tmp_path / "t.csv", "user,item,date\n" + rows)
    dataset, _ = prepare(plain([path], split=Split("time")))
    assert pairs_of(dataset, "train") == {("a", "x"), ("a", "y"), ("a", "z")}
    assert pairs_of(dataset, "test") == {("a", "w")}


@pytest.mark.parametrize(
    "times",
    [
        ["2024-01-05", "2024-01-06T10:00:00Z", "2024-01-06 11:30:00.5"],
        ["3", "4.5", "1e3"],
        ["1970-01-01", "5", "1970-01-01T00:00:06"],
    ],
)
def test_times_are_numbers_or_dates(tmp_path, times):
    rows = "".join(f"a,i{n},{times[n]}\n" for n in (2, 0, 1))
    path = write(tmp_path / "t.csv", "user,item,time\n" + rows)
    dataset, _ = prepare(plain([path], split=Split("leave-one-out")))
    assert [pairs_of(dataset, split) for split in SPLITS] == [{("a", f"i{n}")} for n in range(3)]


def test_the_order_of_the_rows_does_not_matter(ratings, tmp_path):
    frame = pl.read_csv(ratings)
    for seed, name in enumerate(("a.jsonl", "b.parquet")):
        mixed = frame.sample(fraction=1, shuffle=True, seed=seed)
        (mixed.write_ndjson if name.endswith("jsonl") else mixed.write_parquet)(tmp_path / name)
    for method in ("random", "time", "leave-one-out"):
        first, *others = (
            prepare(Plan([path], split=Split(method)))[0]
            for path in (ratings, tmp_path / "a.jsonl", tmp_path / "b.parquet")
        )
        for other in others:
            assert other.users.equals(first.users)
            for split in SPLITS:
                assert (getattr(first, split) != getattr(other, split)).nnz == 0


def test_users_and_items_are_in_the_order_of_their_ids(tmp_path):
    path = write(tmp_path / "t.csv", "user,item\n10,b\n9,a\n9,B\n010,a\n")
    dataset, _ = prepare(plain([path]))
    assert dataset.users["id"].to_list() == ["9", "010", "10"]
    assert dataset.items["id"].to_list() == ["B", "a", "b"]


def test_several_files_are_joined(tmp_path):
    first = write(tmp_path / "a.csv", "user,item,rating\na,x,5\nb,x,1\n")
    second = write(tmp_path / "b.tsv", "user_id\titem_id\na\tx\nc\ty\n")
    dataset, report = prepare(plain([first, second]))
    assert pairs_of(dataset) == {("a", "x"), ("c", "y")}
    assert [source.rows for source in report.sources] == [2, 2]


def test_texts_come_from_the_first_table_that_knows_them(tmp_path):
    path = write(tmp_path / "t.csv", "user,item\n a ,x\nb,y\nb,z\n")
    one = write(tmp_path / "one.csv", "asin,title,profile\nx,X,\nx,again,\nq,Q,\n, ,\n")
    lines = '{"id": "x", "name": "other", "profile": "of x", "tags": ["s", "t"], "age": 3}\n'
    two = write(tmp_path / "two.jsonl", lines + '{"id": "y", "name": " ", "tags": []}\n')
    people = write(tmp_path / "people.csv", "user,profile\na,likes x\n")
    dataset, report = prepare(
        plain(
            [path],
            items=[one, two],
            users=[people],
            item_columns={"description": ("tags", "age")},
            max_bad=BadLimit(count=1),
        )
    )
    assert dataset.items.rows() == [
        ("x", "X", "of x", "tags: s, t\nage: 3"),
        ("y", None, None, None),
        ("z", None, None, None),
    ]
    assert dataset.users.rows() == [("a", None, "likes x", None), ("b", None, None, None)]
    assert report.texts["items"] == {"in_tables": 2, "title": 1, "profile": 1, "description": 1}
    assert [source.bad_rows for source in report.sources] == [0, 0, 1, 0]


def test_items_without_a_row_are_left_out_on_request(tmp_path):
    path = write(tmp_path / "t.csv", "user,item\na,x\nb,y\nb,z\n")
    items = write(tmp_path / "items.csv", "item,title\nx,X\nz,Z\n")
    dataset, report = prepare(plain([path], items=[items], drop_unknown=True))
    assert pairs_of(dataset) == {("a", "x"), ("b", "z")}
    assert report.steps[2].removed == 1


@pytest.mark.parametrize("kind", ["pkl", "npz"])
def test_matrices_give_interactions_whose_numbers_a_table_names(tmp_path, kind):
    matrices = [
        sp.coo_matrix(np.array(rows, float))
        for rows in ([[1, 0, 0], [0, 0, 1]], [[1, 0, 1], [0, 0, 0]])
    ]
    paths = [tmp_path / f"{n}.{kind}" for n in range(2)]
    for path, matrix in zip(paths, matrices, strict=True):
        if kind == "pkl":
            path.write_bytes(pickle.dumps(matrix))
        else:
            sp.save_npz(path, matrix.tocsr())
    items = "item_id_int,item_id_raw,profile_text\n0,a7,zero\n1,a8,one\n"
    names = write(tmp_path / "items.csv", items)
    np.save(tmp_path / "vectors.npy", np.arange(6, dtype=np.float16).reshape(3, 2))
    dataset, _ = prepare(plain(paths, items=[names], item_vectors=tmp_path / "vectors.npy"))
    assert pairs_of(dataset) == {("0", "a7"), ("0", "#2"), ("1", "#2")}
    assert dataset.items["profile"].to_list() == [None, "zero"]
    assert dataset.items["id"].to_list() == ["#2", "a7"]
    assert dataset.item_vectors.tolist() == [[4, 5], [0, 1]]


def test_vectors_belong_to_the_rows_of_the_first_table(tmp_path):
    path = write(tmp_path / "t.csv", "user,item\na,x\nb,y\n")
    items = write(tmp_path / "items.csv", "item\nz\ny\nx\nx\n")
    np.save(tmp_path / "v.npy", np.arange(4, dtype=np.float32)[:, None])
    dataset, _ = prepare(plain([path], items=[items], item_vectors=tmp_path / "v.npy"))
    assert dataset.item_vectors.tolist() == [[2], [1]]
    np.save(tmp_path / "v.npy", np.zeros((3, 1), np.float32))
    with pytest.raises(DatasetError, match=r"must have 4 rows.*got shape \(3, 1\)"):
        prepare(plain([path], items=[items], item_vectors=tmp_path / "v.npy"))
    short = write(tmp_path / "items.csv", "item\nz\ny\n")
    np.save(tmp_path / "v.npy", np.zeros((2, 1), np.float32))
    with pytest.raises(DatasetError, match="every item left must have a vector"):
        prepare(plain([path], items=[short], item_vectors=tmp_path / "v.npy"))
    with pytest.raises(DatasetError, match="--item-vectors needs --items"):
        prepare(plain([path], item_vectors=tmp_path / "v.npy"))


BAD_ROWS = "user,item,rating,time\na,x,5,1\n,x,5,1\na, ,5,1\na,x,good,1\na,x,nan,1\na,x,5,then\na\n"


def test_bad_rows_are_counted_and_named_by_line(tmp_path):
    path = write(tmp_path / "t.csv", BAD_ROWS + "b,y,4,2\n")
    _, report = prepare(plain([path], max_bad=BadLimit.parse("6")))
    (source,) = report.sources
    assert (source.rows, source.bad_rows) == (8, 6)
    reasons = {row.line: row.reason for row in source.first_bad_rows}
    assert sorted(reasons) == [3, 4, 5, 6, 7, 8]
    assert reasons[3] == "user must not be empty (got None)"
    assert reasons[5] == "rating must be a number (got 'good')"
    assert reasons[7].startswith("time must be a number or a date such as")
    for limit in ("5", "74.9%"):
        with pytest.raises(DatasetError, match="got 6 bad rows of 8: line 8: must have 4 fields"):
            prepare(plain([path], max_bad=BadLimit.parse(limit)))
    assert prepare(plain([path], max_bad=BadLimit.parse("75%")))[1].sources == report.sources


def test_a_matrix_that_is_a_program_is_refused(tmp_path):
    class Bad:
        def __reduce__(self) -> tuple[object, ...]:
            return (print, ("run",))

    (tmp_path / "t.pkl").write_bytes(pickle.dumps(Bad()))
    with pytest.raises(DatasetError, match=r"builtins\.print"):
        prepare(plain([tmp_path / "t.pkl"]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": Split("time")}, "needs a column with times"),
        ({"user_core": 0}, "user_core must be at least 1"),
        ({"user_core": 4}, r"some interactions must be left.*read: 3 left; repeated: 3 left"),
        ({"drop_unknown": True}, "must come with a table of items"),
        ({"columns": {"user": ("who",)}}, r"--columns user=who: .* must have this column.*got use"),
        ({"columns": {"rating": ("item",)}}, "no column looks like the item"),
    ],
)
def test_impossible_plans_are_refused(tmp_path, options, message):
    path = write(tmp_path / "t.csv", "user,item\na,x\na,y\na,z\n")
    with pytest.raises(ValueError, match=message):
        prepare(plain([path], **options))


def test_tables_and_matrices_do_not_mix(tmp_path):
    path = write(tmp_path / "t.csv", "user,item\na,x\n")
    with pytest.raises(ValueError, match="all matrices or all tables"):
        prepare(plain([path, tmp_path / "m.pkl"]))


def test_two_numbers_with_one_id_are_refused(tmp_path):
    (tmp_path / "m.pkl").write_bytes(pickle.dumps(sp.coo_matrix(np.ones((2, 2)))))
    items = write(tmp_path / "items.csv", "item_id_int,item_id_raw\n0,a\n1,a\n")
    with pytest.raises(DatasetError, match=r"an id of its own \(got 'a' for 0 and 1"):
        prepare(plain([tmp_path / "m.pkl"], items=[items]))


@pytest.mark.realdata
def test_steam_from_raw(realdata):
    folder = realdata / "steam"
    dataset, report = prepare(
        Plan(
            [folder / "val_mat.pkl", folder / "tst_mat.pkl"],
            items=[folder / "item_profiles.csv", folder / "games_metadata.jsonl.gz"],
            item_columns={"description": ("genres", "tags")},
            item_vectors=folder / "item_embeddings.npy",
            max_bad=BadLimit(0.8),
        )
    )
    assert report.steps[0].interactions == 209_732
    assert report.steps[1].removed == 0
    assert (dataset.num_users, dataset.num_items) == (17_038, 4_436)
    assert report.texts["items"] == dict.fromkeys(report.texts["items"], 4_436)
    assert dataset.items.filter(pl.col("id") == "237930")["title"].to_list() == ["Transistor"]
    assert dataset.item_vectors.shape == (4_436, 384)
