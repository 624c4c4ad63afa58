from __future__ import annotations

import threading
import time

import pytest

from rlmrec_fast.semantic.parallel import in_parallel


@pytest.mark.parametrize("workers", [1, 3, 50])
def test_every_task_is_done_once_by_so_many_at_a_time(workers: int) -> None:
    under_way = most = 0
    lock = threading.Lock()

    def work(task: int) -> int:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        time.sleep(0.002)
        with lock:
            under_way -= 1
        return task * task

    found = dict(in_parallel(work, range(30), workers))
    assert found == {task: task * task for task in range(30)}
    assert most <= workers
    assert list(in_parallel(work, [], workers)) == []


@pytest.mark.parametrize("workers", [1, 3])
def test_a_failure_starts_nothing_more_and_keeps_what_was_done(workers: int) -> None:
    started: list[int] = []
    yielded: list[int] = []

    def work(task: int) -> int:
        started.append(task)
        if task == 4:
            raise OSError("broken")
        time.sleep(0.01)
        return task

    results = in_parallel(work, range(1000), workers)
    with pytest.raises(OSError, match="broken"):
        yielded.extend(task for task, _ in results)
    assert len(started) < 12
    assert sorted([*yielded, 4]) == sorted(started), "those under way came through"


def test_tasks_are_drawn_as_they_are_needed() -> None:
    drawn = []

    def tasks():
        for task in range(100):
            drawn.append(task)
            yield task

    results = in_parallel(lambda task: task, tasks(), 2)
    next(results)
    results.close()
    assert len(drawn) <= 4
