from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console
from small_runs import make_settings

from rlmrec_fast.training.checkpoint import TrainingState
from rlmrec_fast.training.progress import Bar, Lines, Silent, progress_on

METRICS = {"recall@20": 0.125, "ndcg@20": 0.0625}


def tell(progress: Silent) -> None:
    """Epochs 1 to 3, the second of them evaluated."""
    state = TrainingState()
    with progress:
        for epoch in (1, 2, 3):
            progress.step(epoch, 0.5)
            record = {"epoch": epoch, "rec_loss": 0.5 / epoch, "reg_loss": 1e-6, "cl_loss": 0.0}
            record |= {"seconds": 0.25}
            state.epoch = epoch
            if epoch == 2:
                record |= METRICS
                state.best_epoch, state.best_metrics = 2, METRICS
            progress.epoch(record, state)


def output(terminal: bool) -> str:
    console = Console(file=StringIO(), force_terminal=terminal, width=200)
    progress = progress_on(console, make_settings(max_epochs=3))
    assert isinstance(progress, Bar if terminal else Lines)
    tell(progress)
    return console.file.getvalue()


def test_without_a_terminal_there_is_one_plain_line_per_evaluation():
    assert output(terminal=False) == (
        "epoch    2  rec_loss 0.25  reg_loss 1e-06  recall@20 0.1250  ndcg@20 0.0625  "
        "best recall@20 0.1250 (epoch 2)  0.250 s\n"
    )


def test_on_a_terminal_a_live_line_shows_losses_best_metric_and_patience():
    text = output(terminal=True)
    assert "epoch 3/3" in text
    assert "rec_loss 0.1667  reg_loss 1e-06" in text
    assert "best recall@20 0.1250 (epoch 2), patience 0/3" in text
    assert text.count("not evaluated yet") >= 1


@pytest.mark.parametrize("terminal", [True, False])
def test_an_interruption_leaves_the_terminal_in_order(terminal):
    console = Console(file=StringIO(), force_terminal=terminal, width=200)
    progress = progress_on(console, make_settings())

    def interrupted() -> None:
        with progress:
            progress.step(1, 0.1)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    text = console.file.getvalue()
    assert text.count("\x1b[?25h") == text.count("\x1b[?25l"), "the cursor must come back"
