from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from small_studies import small_grid

from rlmrec_fast.reproduce import queue as module
from rlmrec_fast.reproduce.grid import Found, find_result
from rlmrec_fast.reproduce.queue import (
    Queue,
    Training,
    is_locked,
    needed_memory,
    only_one,
    train_command,
)


@pytest.fixture
def cells(data, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "POLL_SECONDS", 0.01)
    return small_grid(data, tmp_path / "study")


@pytest.fixture
def trains(trained, cells, monkeypatch):
    """Training is copying what was trained before; some cells do something else instead."""
    instead: dict[str, str] = {}
    cells[0].path.parent.mkdir()

    def command(cell, threads):
        source = next(own.path for own in trained if own.name == cell.name)
        script = instead.get(cell.name, f"cp -r {source} {cell.path}")
        return ["sh", "-c", script]

    monkeypatch.setattr(module, "train_command", command)
    return instead


def test_every_cell_is_trained_and_known_ones_are_kept(cells, trains, trained, capfd) -> None:
    known = find_result(trained[2])
    assert known is not None
    queue = Queue(cells, finished={cells[2].name: known})
    queue.run()
    assert set(queue.finished) == {cell.name for cell in cells}
    assert not queue.failed
    assert queue.finished[cells[2].name].path == trained[2].path
    assert not cells[2].path.exists()
    lines = capfd.readouterr().err.splitlines()
    assert lines[0].startswith("[2/4] toy-lightgcn-1: recall@20 0.")
    assert "; about " in lines[0]
    assert lines[0].endswith(" left")
    assert lines[-1].startswith("[4/4] ")
    assert not lines[-1].endswith("left")


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo first; echo 'error: no vectors' >&2; exit 2", "no vectors"),
        ("exit 5", "exit code 5"),
        ("kill -9 $$", "killed (by signal 9, as when memory is exhausted)"),
        ("kill -15 $$", "ended by signal 15"),
        ("exit 130", "interrupted"),
        ("true", "exit code 0"),
    ],
)
@pytest.mark.parametrize("jobs", [1, 3])
def test_a_cell_that_fails_does_not_stop_the_others(cells, trains, jobs, script, reason) -> None:
    trains[cells[1].name] = script
    queue = Queue(cells, jobs=jobs)
    queue.run()
    assert queue.failed == {cells[1].name: reason}
    assert len(queue.finished) == 3
    assert module.log_path(cells[1]).exists()
    again = Queue(cells, finished=dict(queue.finished))
    trains.clear()
    again.run()
    assert len(again.finished) == 4


def test_at_most_so_many_run_at_once_and_memory_counts(
    cells, trains, tmp_path, monkeypatch
) -> None:
    log = tmp_path / "log"
    for cell in cells:
        trains[cell.name] = f"echo + >> {log}; sleep 0.2; echo - >> {log}; exit 3"

    def most() -> int:
        steps = [1 if line == "+" else -1 for line in log.read_text().split()]
        log.unlink()
        return max(sum(steps[:end]) for end in range(1, len(steps) + 1))

    Queue(cells, jobs=3).run()
    assert most() == 3
    Queue(cells, jobs=1).run()
    assert most() == 1
    monkeypatch.setattr(module, "available_memory", lambda: needed_memory(cells[0]) - 1)
    Queue(cells, jobs=3).run()
    assert most() == 1, "one always runs"
    monkeypatch.setattr(module, "available_memory", lambda: None)
    Queue(cells, jobs=2).run()
    assert most() == 2


def test_what_another_process_trains_is_waited_for(cells, trains, trained, capfd) -> None:
    import fcntl

    cells[0].path.mkdir()
    lock = os.open(cells[0].path, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    assert is_locked(cells[0].path)

    def finish() -> None:
        time.sleep(0.3)
        shutil.copytree(trained[0].path, cells[0].path, dirs_exist_ok=True)
        os.close(lock)

    other = threading.Thread(target=finish)
    other.start()
    trains[cells[0].name] = "exit 9"
    queue = Queue(cells, jobs=2)
    queue.run()
    other.join()
    assert len(queue.finished) == 4
    assert "another process is training it" in capfd.readouterr().err
    assert not is_locked(cells[0].path)


def test_what_another_process_gave_up_is_trained(cells, trains, monkeypatch) -> None:
    locked = [True, True, False]
    real = module.is_locked

    def pretend(path: Path) -> bool:
        return locked.pop(0) if path == cells[0].path and locked else real(path)

    monkeypatch.setattr(module, "is_locked", pretend)
    queue = Queue(cells)
    queue.run()
    assert len(queue.finished) == 4


def test_the_time_left_is_told_by_the_most_similar_runs(cells) -> None:
    queue = Queue(cells, jobs=2)
    assert queue.seconds_left() is None
    base, con, base2, con2 = cells
    result = {"seconds": 10.0}
    queue._learn(base, Found(base.path, result))
    queue.finished[base.name] = Found(base.path, result)
    assert queue.seconds_left() == 15, "three like it, two at once"
    queue._learn(con, Found(con.path, {"seconds": 40.0}))
    queue.failed[con.name] = "no"
    assert queue.seconds_left() == 25
    queue._running.append(Training(con2, None, time.monotonic() - 10))
    assert queue.seconds_left() == pytest.approx((10 + 30) / 2, abs=1)
    queue._running[0] = Training(con2, None, time.monotonic() - 200)
    assert queue.seconds_left() == pytest.approx((10 + 100) / 2, abs=1), "half as long again"
    queue._running[0] = Training(base2, None, time.monotonic() - 200)
    assert queue.seconds_left() == pytest.approx((100 + 40) / 2, abs=1)
    queue._running.clear()
    queue.failed |= {base2.name: "no", con2.name: "no"}
    assert queue.seconds_left() == 0


def test_an_interrupt_is_passed_on_and_waited_for(cells, trains, tmp_path) -> None:
    mark = tmp_path / "mark"
    script = (
        f"trap 'echo int >> {mark}; exit 130' INT; touch {mark}.up; while :; do sleep 0.01; done"
    )
    trains[cells[0].name] = script
    main = threading.main_thread().ident
    assert main is not None

    def interrupt() -> None:
        while not Path(f"{mark}.up").exists():
            time.sleep(0.01)
        signal.pthread_kill(main, signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        Queue(cells).run()
    assert mark.read_text() == "int\n"


def test_the_command_starts_or_resumes(cells, trained) -> None:
    cell = cells[1]
    words = train_command(cell, 3)
    assert words[:4] == [sys.executable, "-m", "rlmrec_fast.cli", "train"]
    told = dict(zip(words[4::2], words[5::2], strict=True))
    assert told["--out"] == str(cell.path)
    assert (told["--model"], told["--align"], told["--seed"]) == ("lightgcn", "contrastive", "1")
    assert (told["--threads"], told["--preset"]) == ("3", "default")
    assert "dim=4" in words
    resumed = train_command(trained[1], 3)
    assert resumed[-1] == "--resume"
    assert "--seed" not in resumed


def test_a_study_belongs_to_one_process(tmp_path) -> None:
    with only_one(tmp_path), pytest.raises(ValueError, match="another process works on this"):
        only_one(tmp_path).__enter__()
    with only_one(tmp_path):
        pass


def test_a_larger_run_needs_more_memory(cells) -> None:
    base, con = needed_memory(cells[0]), needed_memory(cells[1])
    assert 2**29 < base < con < 2**30
