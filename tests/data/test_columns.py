from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from rlmrec_fast.data.columns import INTERACTIONS, ITEMS, choose_columns, parse_columns


@dataclass
class Table:
    columns: list[str]
    path: Path = Path("t.csv")


def chosen(columns: str, roles=INTERACTIONS, **asked: tuple[str, ...]) -> dict[str, str]:
    (found,) = choose_columns([Table(columns.split())], roles, asked, "--columns")
    return {role: "+".join(several) for role, several in found.items()}


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (
            "reviewerID asin overall unixReviewTime reviewTime",
            "reviewerID asin overall unixReviewTime",
        ),
        ("rating title asin parent_asin user_id timestamp", "user_id parent_asin rating timestamp"),
        ("userId movieId rating timestamp", "userId movieId rating timestamp"),
        ("user_id:token item_id:token rating:float", "user_id:token item_id:token rating:float"),
        ("User-ID ISBN Book-Rating", "User-ID ISBN Book-Rating"),
        ("review_id user_id business_id stars date", "user_id business_id stars date"),
        ("user item", "user item"),
    ],
)
def test_known_forms_are_guessed(columns, expected):
    roles = ("user", "item", "rating", "time")
    assert chosen(columns) == dict(zip(roles, expected.split(), strict=False))


def test_what_is_told_is_not_guessed():
    assert chosen("user uid item", user=("uid",)) == {"user": "uid", "item": "item"}
    assert chosen("user item rating", rating=()) == {"user": "user", "item": "item"}
    # A column that was given to one role does not serve for another.
    assert chosen("id name", ITEMS, description=("name",)) == {"id": "id", "description": "name"}


def test_of_several_tables_each_takes_the_columns_that_it_has():
    tables = [Table(["id", "tags"]), Table(["id", "genres", "title"])]
    found = choose_columns(tables, ITEMS, {"description": ("genres", "tags")}, "--item-columns")
    assert found == [
        {"id": ("id",), "description": ("tags",)},
        {"id": ("id",), "title": ("title",), "description": ("genres",)},
    ]


def test_a_missing_column_is_named_with_its_cure():
    with pytest.raises(
        ValueError,
        match=r"no column looks like the item; say which with --columns"
        r" item=COLUMN, and --no-header where.*got user, thing",
    ):
        chosen("user thing")
    with pytest.raises(ValueError, match=r"--columns item=stuff: t.csv must have this column"):
        chosen("user thing", item=("stuff",))


def test_assignments_are_read():
    parsed = parse_columns(["id=asin", "description=a+b", "title="], ITEMS, "--item-columns")
    assert parsed == {"id": ("asin",), "description": ("a", "b"), "title": ()}
    assert parse_columns(["user=a+b"], INTERACTIONS, "--columns") == {"user": ("a+b",)}


@pytest.mark.parametrize(
    ("assignments", "message"),
    [
        (["user"], "--columns must be ROLE=COLUMN with a role of user, item, rating, time"),
        (["who=x"], "got 'who=x'"),
        (["user=a", "user=b"], "--columns must name a role once"),
    ],
)
def test_wrong_assignments_are_refused(assignments, message):
    with pytest.raises(ValueError, match=message):
        parse_columns(assignments, INTERACTIONS, "--columns")
