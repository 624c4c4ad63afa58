"""Which column of a raw table holds what: told by the user, else guessed from its name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

Columns = dict[str, tuple[str, ...]]
"""Role -> the columns that hold it; several only for texts."""


class Table(Protocol):
    """A table on disk."""

    @property
    def path(self) -> Path:
        """The file."""
        ...

    @property
    def columns(self) -> Sequence[str]:
        """The names of its columns."""
        ...


class Role(NamedTuple):
    """Something that a column may hold.

    Attributes:
        names: column names that suggest it, the likeliest first, in lower case without punctuation.
        required: whether a table is of no use without it.
        text: whether it may be put together from several columns.
    """

    names: tuple[str, ...]
    required: bool = False
    text: bool = False


def _role(*names: str, required: bool = False, text: bool = False) -> Role:
    return Role(tuple(name for line in names for name in line.split()), required, text)


_USER = "user userid uid reviewerid customerid memberid visitorid accountid personid steamid"
_ITEM = "item itemid iid parentasin asin productid movieid businessid bookid gameid appid songid"
_MORE = "trackid artistid recipeid animeid newsid articleid gmapid isbn isbn10 sku product"
_TEXTS = {
    "title": _role(
        "title itemtitle name itemname appname productname producttitle booktitle movietitle",
        text=True,
    ),
    "profile": _role("profile profiletext itemprofile userprofile", text=True),
    "description": _role(
        "description desc itemdescription productdescription overview plot summary", text=True
    ),
}
INTERACTIONS = {
    "user": _role(_USER, "username reviewername", required=True),
    "item": _role(_ITEM, _MORE, required=True),
    "rating": _role("rating ratings overall stars score bookrating starrating"),
    "time": _role("timestamp time unixreviewtime date datetime createdat reviewtime ts"),
}
ITEMS = {
    "id": _role("itemidraw id", _ITEM, _MORE, required=True),
    "number": _role("itemidint itemnumber"),
    **_TEXTS,
}
USERS = {
    "id": _role("useridraw id", _USER, required=True),
    "number": _role("useridint usernumber"),
    **_TEXTS,
}


def parse_columns(assignments: Sequence[str], roles: Mapping[str, Role], option: str) -> Columns:
    """Reads `ROLE=COLUMN`, `ROLE=COLUMN+COLUMN` for texts and `ROLE=` for none.

    Args:
        assignments: as given on the command line.
        roles: what may be assigned.
        option: the option's name, for messages.

    Returns:
        The roles that were named; an empty tuple for a role that no column is to have.

    Raises:
        ValueError: an unknown role, one given twice, or no `=`.
    """
    chosen: Columns = {}
    for assignment in assignments:
        role, equals, columns = assignment.partition("=")
        if not equals or role not in roles:
            raise ValueError(
                f"{option} must be ROLE=COLUMN with a role of {', '.join(roles)}"
                f" (got {assignment!r})"
            )
        if role in chosen:
            raise ValueError(f"{option} must name a role once (got {role} twice)")
        several = columns.split("+") if roles[role].text else [columns]
        chosen[role] = tuple(column for column in several if column)
    return chosen


def choose_columns(
    tables: Sequence[Table], roles: Mapping[str, Role], asked: Columns, option: str
) -> list[Columns]:
    """Decides which columns of each table hold what.

    Args:
        tables: the tables of one kind, such as all those of items.
        roles: what to look for.
        asked: what the user said, of the tables that have these columns; the rest is guessed.
        option: the option with which a user says it.

    Returns:
        For each table role -> columns; roles that nothing holds are left out.

    Raises:
        ValueError: a column exists nowhere, or a required role was neither told nor guessed.
    """
    for role, columns in asked.items():
        for column in columns:
            if not any(column in table.columns for table in tables):
                paths = " or ".join(str(table.path) for table in tables) or "a table"
                everything = [name for table in tables for name in table.columns]
                raise ValueError(
                    f"{option} {role}={column}: {paths} must have this column"
                    f" (got {_listed(everything)})"
                )
    return [_choose(table, roles, asked, option) for table in tables]


def _choose(table: Table, roles: Mapping[str, Role], asked: Columns, option: str) -> Columns:
    chosen: Columns = {}
    known = {_plain(column): column for column in reversed(table.columns)}
    told = {
        role: tuple(column for column in columns if column in table.columns)
        for role, columns in asked.items()
    }
    taken = {column for columns in told.values() for column in columns}
    for role, (names, required, _) in roles.items():
        found = told.get(role, ())
        # A role that was given to no column at all is not guessed either.
        if not found and asked.get(role) != ():
            guesses = (known[name] for name in names if name in known)
            found = tuple(guess for guess in guesses if guess not in taken)[:1]
            taken.update(found)
        if found:
            chosen[role] = found
        elif required:
            raise ValueError(
                f"{table.path}: no column looks like the {role}; say which with {option}"
                f" {role}=COLUMN, and --no-header where the file has no header line"
                f" (got {_listed(table.columns)})"
            )
    return chosen


def _plain(column: str) -> str:
    # RecBole's files have names such as user_id:token.
    return re.sub(r"[^a-z0-9]", "", column.lower().partition(":")[0])


def _listed(columns: Sequence[str], most: int = 20) -> str:
    more = f" and {len(columns) - most} more" if len(columns) > most else ""
    return ", ".join(columns[:most]) + more
