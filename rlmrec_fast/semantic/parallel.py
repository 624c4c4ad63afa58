"""Calls that wait for something, several at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from queue import SimpleQueue
from threading import Thread
from typing import TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


def in_parallel(
    work: Callable[[Task], Result], tasks: Iterable[Task], workers: int
) -> Iterator[tuple[Task, Result]]:
    """Results as they come, with at most `workers` calls under way.

    After a call has failed no other one starts, and the failure is raised once those under way have
    ended. The threads do not keep the process alive: Ctrl-C ends it at once.

    Args:
        work: What to do with a task; called in threads, or in this one if `workers` is 1.
        tasks: Drawn as they are needed.
        workers: At least 1.

    Raises:
        Exception: What the first failing call raised.
    """
    if workers == 1:
        for task in tasks:
            yield task, work(task)
        return
    waiting: SimpleQueue[tuple[Task] | None] = SimpleQueue()
    done: SimpleQueue[tuple[Task, Result | None, BaseException | None]] = SimpleQueue()

    def loop() -> None:
        while (entry := waiting.get()) is not None:
            (task,) = entry
            try:
                done.put((task, work(task), None))
            except BaseException as error:
                done.put((task, None, error))

    for _ in range(workers):
        Thread(target=loop, daemon=True).start()
    failure: BaseException | None = None
    under_way, source = 0, iter(tasks)
    try:
        while True:
            while failure is None and under_way < workers:
                try:
                    waiting.put((next(source),))
                except StopIteration:
                    break
                under_way += 1
            if not under_way:
                break
            task, result, error = done.get()
            under_way -= 1
            failure = failure or error
            if error is None:
                yield task, result  # type: ignore[misc]
    finally:
        for _ in range(workers):
            waiting.put(None)
    if failure is not None:
        raise failure
