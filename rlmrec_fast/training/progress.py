"""How a training run tells where it stands: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from rlmrec_fast.training.checkpoint import TrainingState
from rlmrec_fast.training.settings import Settings

MONITOR = "recall@20"
"""The validation metric that decides which epoch is the best."""

_REFRESH_SECONDS = 0.2


class Silent:
    """Tells nothing; the interface of the others."""

    def __enter__(self) -> Silent:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leaves the output in order, whatever ended the run."""

    def say(self, text: str) -> None:
        """Tells one fact."""

    def step(self, epoch: int, share: float) -> None:
        """A share of an epoch's steps is done; called after every step, so it must be cheap."""

    def epoch(self, record: Mapping[str, float], state: TrainingState) -> None:
        """An epoch is done."""


class Lines(Silent):
    """One line per evaluation."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def say(self, text: str) -> None:
        """Prints the fact on a line of its own."""
        self.console.print(text, soft_wrap=True, markup=False, highlight=False)

    def epoch(self, record: Mapping[str, float], state: TrainingState) -> None:
        """Prints the epoch if it was evaluated."""
        if MONITOR in record:
            self.say(describe(record, state))


class Bar(Silent):
    """One live line: epochs, losses, best metric, patience, time."""

    def __init__(self, console: Console, settings: Settings) -> None:
        self.settings = settings
        self.bar = Progress(
            SpinnerColumn(),
            TextColumn("epoch {task.fields[number]}/{task.total}"),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[losses]}  {task.fields[best]}"),
            TimeElapsedColumn(),
            console=console,
            # A refreshing thread would compete with the operators for the interpreter.
            auto_refresh=False,
        )
        self.task = self.bar.add_task(
            "train", total=settings.max_epochs, number=0, losses="", best="not evaluated yet"
        )
        self.refreshed = 0.0

    def __enter__(self) -> Bar:
        self.bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Draws the line a last time and gives the terminal back."""
        self.bar.refresh()
        self.bar.stop()

    def say(self, text: str) -> None:
        """Prints the fact above the line."""
        self.bar.console.print(text, soft_wrap=True, markup=False, highlight=False)

    def step(self, epoch: int, share: float) -> None:
        """Moves the bar, a few times a second."""
        now = time.monotonic()
        if now - self.refreshed >= _REFRESH_SECONDS:
            self.refreshed = now
            self.bar.update(self.task, completed=epoch - 1 + share, refresh=True)

    def epoch(self, record: Mapping[str, float], state: TrainingState) -> None:
        """Updates what the next refresh shows."""
        waited = f", patience {state.bad_evaluations}/{self.settings.patience}"
        best = f"{_best(state)}{waited}" if state.best_epoch else "not evaluated yet"
        self.bar.update(
            self.task, completed=state.epoch, number=state.epoch, losses=_losses(record), best=best
        )


def progress_on(console: Console, settings: Settings) -> Silent:
    """The kind of progress that suits a console."""
    return Bar(console, settings) if console.is_terminal else Lines(console)


def describe(record: Mapping[str, float], state: TrainingState) -> str:
    """One epoch on one line."""
    parts = [f"epoch {record['epoch']:4d}", _losses(record)]
    if MONITOR in record:
        parts += [f"{name} {record[name]:.4f}" for name in (MONITOR, "ndcg@20")]
        parts.append(_best(state))
    return "  ".join([*parts, f"{record['seconds']:.3f} s"])


def _losses(record: Mapping[str, float]) -> str:
    terms = {name: value for name, value in record.items() if name.endswith("_loss") and value}
    return "  ".join(f"{name} {value:.4g}" for name, value in terms.items())


def _best(state: TrainingState) -> str:
    return f"best {MONITOR} {state.best_metrics[MONITOR]:.4f} (epoch {state.best_epoch})"
