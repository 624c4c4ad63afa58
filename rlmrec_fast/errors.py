"""Errors that users cause, and how commands report them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

USER_ERRORS = (ValueError, TypeError, OSError)


class DatasetError(ValueError):
    """A data set, or one of its files, is not what it must be; the message names the file."""


@contextmanager
def user_errors() -> Iterator[None]:
    """Ends a command with one clear line where the user, not the program, is at fault.

    Serves as a decorator (`@user_errors()` below the command's own decorator) and as a context
    manager. An exception in `USER_ERRORS` becomes `error: MESSAGE` on stderr and exit code 2; a
    module missing from an optional extra is told with the command that installs it. Every other
    exception keeps its traceback.

    Raises:
        SystemExit: With code 2, after a user's error.
    """
    try:
        yield
    except USER_ERRORS as error:
        # A message may quote a file's content: it still ends as one line.
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        raise SystemExit(2) from error
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("rlmrec_fast"):
            raise
        print(f"error: {error}; `pip install 'rlmrec-fast[train]'` brings it", file=sys.stderr)
        raise SystemExit(2) from error
