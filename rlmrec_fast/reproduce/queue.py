"""Trains the cells of a grid, each in a process of its own."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any

from rlmrec_fast.errors import INTERRUPTED
from rlmrec_fast.reproduce.grid import Cell, Found, find_result
from rlmrec_fast.semantic.progress import duration

POLL_SECONDS = 0.1
NEWS_SECONDS = 60.0

_BASE_BYTES = 600 * 2**20  # torch, the package, a run's working memory
_COPIES = 4  # of a data set's tables: the file, float32, gradients, the optimizer


@dataclass
class Training:
    """A cell under way: our process, or another one's (None) that holds the folder's lock."""

    cell: Cell
    process: subprocess.Popen[bytes] | None
    start: float


@dataclass
class Queue:
    """Works through cells.

    Attributes:
        cells: What is to be trained.
        jobs: Most processes at once.
        threads: Threads of each.
        finished: Cell's name -> finished run.
        failed: Cell's name -> why it failed.
    """

    cells: Sequence[Cell]
    jobs: int = 1
    threads: int = 1
    finished: dict[str, Found] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    _running: list[Training] = field(default_factory=list)
    _taken: dict[tuple[str, str, str], list[float]] = field(default_factory=dict)

    def run(self) -> None:
        """Trains every cell that is not finished; one that fails does not stop the others.

        Raises:
            KeyboardInterrupt: After Ctrl-C, once every process has ended; all can be resumed.
        """
        for cell in self.cells:
            if cell.name in self.finished:
                self._learn(cell, self.finished[cell.name])
        waiting = [cell for cell in self.cells if cell.name not in self.finished]
        said = time.monotonic()
        try:
            while waiting or self._running:
                while waiting and self._may_start(waiting[0]):
                    self._start(waiting.pop(0))
                time.sleep(POLL_SECONDS)
                for training in [own for own in self._running if _has_ended(own)]:
                    self._running.remove(training)
                    if not self._end(training):
                        waiting.append(training.cell)
                    said = time.monotonic()
                if time.monotonic() - said > NEWS_SECONDS:
                    said = time.monotonic()
                    self._say(f"running: {', '.join(map(_state, self._running))}")
        finally:
            self._interrupt()

    def _may_start(self, cell: Cell) -> bool:
        if not self._running:
            return True
        if len(self._running) >= self.jobs:
            return False
        available = available_memory()
        return available is None or available > needed_memory(cell)

    def _start(self, cell: Cell) -> None:
        if is_locked(cell.path):
            self._say(f"{cell.name}: another process is training it, which is waited for")
            self._running.append(Training(cell, None, time.monotonic()))
            return
        with log_path(cell).open("ab") as log:
            process = subprocess.Popen(
                train_command(cell, self.threads),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C is ours to pass on.
                start_new_session=True,
            )
        self._running.append(Training(cell, process, time.monotonic()))

    def _end(self, training: Training) -> bool:
        """Takes note of how a training ended; False where it must be started again."""
        cell = training.cell
        try:
            found = find_result(cell)
        except (ValueError, OSError) as error:
            found, reason = None, str(error)
        else:
            reason = ""
        if found is not None:
            self.finished[cell.name] = found
            self._learn(cell, found)
            test = found.result["test"]
            self._say(f"{cell.name}: {_scores(test)}, {duration(found.result['seconds'])}")
            return True
        if training.process is None:
            return False
        reason = reason or _why(training.process.returncode, log_path(cell))
        self.failed[cell.name] = reason
        self._say(f"{cell.name} failed: {reason}; see {log_path(cell)}")
        return True

    def _learn(self, cell: Cell, found: Found) -> None:
        self._taken.setdefault(cell.key, []).append(float(found.result["seconds"]))

    def seconds_left(self) -> float | None:
        """Roughly how long the rest takes, as far as finished runs tell, and slow ones correct."""
        if not self._taken:
            return None
        known = [(key, seconds) for key, values in self._taken.items() for seconds in values]
        under_way = {own.cell.name: time.monotonic() - own.start for own in self._running}
        lasting = {}
        for own in self._running:
            # A run that takes longer than those like it is likely to take half as long again.
            seconds = 1.5 * under_way[own.cell.name]
            if seconds > _expected(own.cell, known):
                lasting[own.cell.name] = own.cell.key, seconds
        left = 0.0
        for cell in self.cells:
            if cell.name not in self.finished and cell.name not in self.failed:
                own_time = lasting.get(cell.name)
                samples = [own_time] if own_time else [*known, *lasting.values()]
                left += max(_expected(cell, samples) - under_way.get(cell.name, 0.0), 0.0)
        return left / self.jobs

    def _say(self, text: str) -> None:
        done, left = len(self.finished) + len(self.failed), self.seconds_left()
        rest = "" if left is None or done == len(self.cells) else f"; about {duration(left)} left"
        print(f"[{done}/{len(self.cells)}] {text}{rest}", file=sys.stderr, flush=True)

    def _interrupt(self) -> None:
        """Ends what still runs, in a way that can be resumed."""
        processes = [own.process for own in self._running if own.process is not None]
        for process in processes:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
        for process in processes:
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _expected(cell: Cell, known: Sequence[tuple[tuple[str, str, str], float]]) -> float:
    """By runs of the same cell with other seeds, else of the most similar cells."""
    alike = [sum(a == b for a, b in zip(key, cell.key, strict=True)) for key, _ in known]
    most = max(alike)
    return mean(seconds for (_, seconds), same in zip(known, alike, strict=True) if same == most)


def train_command(cell: Cell, threads: int) -> list[str]:
    """The command that trains a cell, or goes on with it."""
    words = [sys.executable, "-m", "rlmrec_fast.cli", "train", "--out", str(cell.path)]
    words += ["--data", str(cell.source.path), "--threads", str(threads)]
    if (cell.path / "config.yaml").is_file():
        return [*words, "--resume"]
    settings = cell.settings
    words += ["--model", settings.model, "--align", settings.align]
    words += ["--preset", cell.source.preset, "--seed", str(settings.seed)]
    for name, value in cell.changes.items():
        words += ["--set", f"{name}={value}"]
    return words


def log_path(cell: Cell) -> Path:
    """What the training's process prints."""
    return cell.path.with_name(f"{cell.path.name}.log")


def is_locked(path: Path) -> bool:
    """Whether some process trains in a run folder."""
    if not path.is_dir():
        return False
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


@contextmanager
def only_one(out: Path) -> Iterator[None]:
    """Keeps a second process from working on the same study.

    Raises:
        ValueError: There is one.
    """
    out.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(out / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise ValueError(
            f"reproduce: {out} must be free (got a lock: another process works on this study)"
        ) from None
    finally:
        os.close(descriptor)


def available_memory() -> int | None:
    """Bytes that can be had without swapping; None where the system does not say."""
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
    except OSError:
        return None
    for line in text.splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def needed_memory(cell: Cell) -> int:
    """Roughly the bytes that the training of a cell takes."""
    dataset = cell.source.dataset
    vectors = [dataset.user_vectors, dataset.item_vectors] if cell.settings.align != "none" else []
    texts = sum(table.size * 4 for table in vectors if table is not None)
    rows = dataset.num_users + dataset.num_items
    tables = rows * cell.settings.dim * (cell.settings.num_layers + 2) * 4
    return int(_BASE_BYTES + _COPIES * (texts + tables + dataset.train.nnz * 16))


def _has_ended(training: Training) -> bool:
    if training.process is None:
        return not is_locked(training.cell.path)
    return training.process.poll() is not None


def _state(training: Training) -> str:
    metrics = training.cell.path / "metrics.jsonl"
    epochs = metrics.read_bytes().count(b"\n") if metrics.is_file() else 0
    return f"{training.cell.name} (epoch {epochs})"


def _scores(metrics: Any) -> str:
    return f"recall@20 {metrics['recall@20']:.4f}, ndcg@20 {metrics['ndcg@20']:.4f}"


def _why(code: int, log: Path) -> str:
    """Why a process failed, in a line."""
    if code == -signal.SIGKILL:
        return "killed (by signal 9, as when memory is exhausted)"
    if code < 0:
        return f"ended by signal {-code}"
    if code == INTERRUPTED:
        return "interrupted"
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1].removeprefix("error: ")[:500] if lines else f"exit code {code}"
