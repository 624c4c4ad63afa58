"""Errors that users cause, and how commands report them.

Exit codes of every command: 0 all is well, 2 the user's error, 3 a network that cannot be reached,
4 a budget is exhausted or some of the work failed (what was done is kept), 130 Ctrl-C or SIGTERM.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class DatasetError(ValueError):
    """A data set, or one of its files, is not what it must be; the message names the file."""


class MissingExtraError(ImportError):
    """A package of an optional extra is not installed; the message has the command for it."""


class IncompleteError(Exception):
    """Some of the work is not done, what was done is kept; the message says how to go on."""


class UnreachableError(Exception):
    """A server cannot be reached or refuses; the message says what to do by hand."""


USER_ERRORS = (ValueError, TypeError, OSError, MissingExtraError)
UNREACHABLE = 3
"""Exit code where a server cannot be reached."""
INCOMPLETE = 4
"""Exit code where a budget is exhausted or some of the work failed."""

INTERRUPTED = 130
"""Exit code after Ctrl-C."""


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Wraps imports of packages that an optional extra brings.

    Args:
        name: The extra, as in `pip install 'rlmrec-fast[NAME]'`.

    Raises:
        MissingExtraError: A package is missing.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("rlmrec_fast"):
            raise
        raise MissingExtraError(
            f"{error}; `pip install 'rlmrec-fast[{name}]'` brings it"
        ) from error


@contextmanager
def user_errors() -> Iterator[None]:
    """Ends a command with one clear line where the user, not the program, is at fault.

    Serves as a decorator (`@user_errors()` below the command's own decorator) and as a context
    manager. An exception in `USER_ERRORS` becomes `error: MESSAGE` on stderr and exit code 2, an
    `UnreachableError` the same with exit code 3, an `IncompleteError` with exit code 4; a module
    missing from the extra `train` is told with the command that installs it. Every other exception
    keeps its traceback.

    Raises:
        SystemExit: With code 2 after a user's error, 3 without a network, 4 after incomplete work.
    """
    try:
        with extra("train"):
            yield
    except (UnreachableError, IncompleteError) as error:
        _tell(error)
        raise SystemExit(
            UNREACHABLE if isinstance(error, UnreachableError) else INCOMPLETE
        ) from error
    except USER_ERRORS as error:
        _tell(error)
        raise SystemExit(2) from error


@contextmanager
def interruptible() -> Iterator[None]:
    """Lets SIGTERM, which schedulers send before they kill, interrupt as Ctrl-C does.

    Raises:
        KeyboardInterrupt: After either.
    """
    main = threading.current_thread() is threading.main_thread()
    # Whoever has chosen what SIGTERM does keeps it.
    if not main or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def resumable() -> Iterator[None]:
    """Ends a command whose repetition goes on where it was with one line after Ctrl-C or SIGTERM.

    Raises:
        SystemExit: With code 130.
    """
    try:
        with interruptible():
            yield
    except KeyboardInterrupt as error:
        print("interrupted; run the same command again to go on", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from error


def _tell(error: Exception) -> None:
    # A message may quote a file's content: it still ends as one line.
    print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
