from __future__ import annotations

import os
import signal
import threading

import pytest

from rlmrec_fast.errors import (
    DatasetError,
    IncompleteError,
    UnreachableError,
    extra,
    interruptible,
    resumable,
    user_errors,
)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("graph: users must be positive (got -1)"),
        TypeError("a type"),
        FileNotFoundError("no file"),
        FileExistsError("a file"),
        DatasetError("a data set"),
        PermissionError("not yours"),
    ],
)
def test_a_users_error_ends_as_one_line_with_code_2(
    error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught, user_errors():
        raise error
    assert caught.value.code == 2
    assert capsys.readouterr() == ("", f"error: {error}\n")


def test_a_message_of_several_lines_becomes_one(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), user_errors():
        raise ValueError("first\n  second")
    assert capsys.readouterr().err == "error: first second\n"


@pytest.mark.parametrize("error", [RuntimeError("a bug"), KeyError("k"), AssertionError()])
def test_other_errors_keep_their_traceback(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, user_errors():
        raise error
    assert caught.value is error


def test_it_serves_as_a_decorator_and_returns_the_result() -> None:
    @user_errors()
    def double(number: int) -> int:
        if number < 0:
            raise ValueError("negative")
        return 2 * number

    assert double(2) == 4
    with pytest.raises(SystemExit):
        double(-1)
    assert double(3) == 6


def test_a_missing_extra_is_told_with_its_cure(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), user_errors():
        import a_module_that_nobody_has  # type: ignore[import-not-found]  # noqa: F401
    assert "rlmrec-fast[train]" in capsys.readouterr().err


def test_a_missing_package_names_its_own_extra(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught, user_errors(), extra("llm"):
        import a_module_that_nobody_has  # type: ignore[import-not-found]  # noqa: F401
    assert caught.value.code == 2
    assert "pip install 'rlmrec-fast[llm]'" in capsys.readouterr().err


def test_a_missing_module_of_the_package_is_a_bug() -> None:
    with pytest.raises(ModuleNotFoundError), user_errors(), extra("llm"):
        import rlmrec_fast.a_module_that_nobody_has  # type: ignore[import-not-found]  # noqa: F401


def test_incomplete_work_ends_with_code_4(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught, user_errors():
        raise IncompleteError("2 of 3 runs failed")
    assert caught.value.code == 4
    assert capsys.readouterr().err == "error: 2 of 3 runs failed\n"


def test_a_network_that_cannot_be_reached_has_code_3(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught, user_errors():
        raise UnreachableError("http://x: no connection")
    assert caught.value.code == 3
    assert capsys.readouterr() == ("", "error: http://x: no connection\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_command_that_can_be_resumed_says_so_when_it_is_stopped(
    number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop() -> None:
        os.kill(os.getpid(), number)
        threading.Event().wait(10)

    with pytest.raises(SystemExit) as caught, resumable():
        stop()
    assert caught.value.code == 130
    assert capsys.readouterr().err == "interrupted; run the same command again to go on\n"
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_whoever_handles_sigterm_goes_on_doing_so() -> None:
    seen: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    try:
        with interruptible():
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    assert seen == [signal.SIGTERM]


def test_outside_the_main_thread_signals_are_left_alone() -> None:
    done: list[int] = []

    def work() -> None:
        with interruptible():
            done.append(1)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [1]
