"""The training loop: Adam over shuffled triplets, early stopping on validation Recall@20."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rlmrec_fast import ops
from rlmrec_fast.alignment import Recommender
from rlmrec_fast.backbones import Batch
from rlmrec_fast.training.checkpoint import (
    Tensors,
    TrainingState,
    load_best,
    load_last,
    load_tensors,
    save_last,
    save_tensors,
)
from rlmrec_fast.training.evaluation import Evaluator
from rlmrec_fast.training.progress import MONITOR, Silent, describe
from rlmrec_fast.training.replay import CudaGraphs, Recorder, ReplayedStep, require_replayable
from rlmrec_fast.training.run import SPLITS, RunFolder
from rlmrec_fast.training.settings import Settings
from rlmrec_fast.training.step import create_optimizer, train_step

if TYPE_CHECKING:
    from rlmrec_fast.data import Dataset

TERMS = ("rec_loss", "reg_loss", "cl_loss", "infomax_loss")
"""The loss terms of the log; a term that a model does not have is 0."""

CHECKPOINT_SECONDS = 60.0
"""Between evaluations, `last.safetensors` is written when it is older than this."""

# What a derived seed is for. A number never changes its meaning, or old runs could not be resumed.
_NEGATIVES, _SHUFFLE, _STEP = 1, 2, 3


class DivergenceError(ValueError):
    """A loss term is not finite any more; the message names the epoch and the term."""


@dataclass(frozen=True)
class TrainingResult:
    """How a run ended.

    Attributes:
        best_epoch: the epoch with the highest validation Recall@20.
        epochs: epochs trained.
        validation: validation metrics of the best epoch.
        test: test metrics of the best epoch's weights.
        seconds: wall-clock time, all sittings together.
    """

    best_epoch: int
    epochs: int
    validation: dict[str, float]
    test: dict[str, float]
    seconds: float


class Trainer:
    """Trains a model on a data set.

    An epoch draws one negative per training interaction, shuffles, and walks all triplets once in
    batches (the last one smaller). Every `eval_every` epochs, and after the last one, the
    validation items are ranked; training stops after `patience` evaluations without a higher
    Recall@20, and the weights of the best epoch are evaluated once on the test items. All
    randomness derives from `settings.seed`, so equal settings and data give equal bits for any
    number of threads.

    Args:
        model: a backbone with or without an alignment; its device is used.
        dataset: has scipy sparse `U x I` matrices `train`, `validation` and `test`.
        settings: batch size, learning rate, when to stop, seed.
        run: folder for metrics and checkpoints. If it holds a checkpoint, training goes on from
            there. None keeps everything in memory.
        progress: who is told where the run stands.
        cuda_graph: whether to record a step once and replay it, which ends with the same bits.

    Raises:
        ValueError: the graph and the data set differ in size, a split is empty, the run was
            started with other settings or data, or the model's steps cannot be recorded.
    """

    def __init__(
        self,
        model: Recommender,
        dataset: Dataset,
        settings: Settings,
        run: RunFolder | None = None,
        progress: Silent | None = None,
        cuda_graph: bool = False,
    ) -> None:
        graph = model.graph
        if (graph.num_users, graph.num_items) != tuple(dataset.train.shape):
            raise ValueError(
                f"Trainer: the graph must have the data set's {dataset.train.shape} users and "
                f"items (got {(graph.num_users, graph.num_items)})"
            )
        require_trainable(dataset)
        if run is not None:
            run.config.check(settings, dataset)
        self.model = model
        self.dataset = dataset
        self.settings = settings
        self.run = run
        self.progress = progress or Silent()
        self.device = model.graph.device
        self.validation = Evaluator(dataset.train, dataset.validation, device=self.device)
        self.test = Evaluator(dataset.train, dataset.test, device=self.device)
        self.users, self.positives = graph.interactions()
        self.optimizer = create_optimizer(model, settings.learning_rate)
        self.state = TrainingState()
        self.best: Tensors = {}
        self.replayed: ReplayedStep | None = None
        if cuda_graph:
            aligned = None if model.alignment is None else type(model.alignment)
            require_replayable(type(model.backbone), aligned, self.device)
            self.replay_by(CudaGraphs(self.optimizer))

    def replay_by(self, recorder: Recorder) -> None:
        """Lets full batches be taken by what the recorder replays."""
        self.replayed = ReplayedStep(
            self.model,
            lambda batch, seed, step: train_step(self.model, self.optimizer, batch, seed, step),
            self.settings.batch_size,
            recorder,
        )

    def fit(self) -> TrainingResult:
        """Trains to the end, leaving the best weights in the model.

        Returns:
            The result; that of `result.json` if the run was finished before.

        Raises:
            DivergenceError: a loss term is not finite.
            ValueError: the run's checkpoint is damaged or belongs to another run.
        """
        done = None if self.run is None else self._finished_before(self.run)
        if done is not None:
            return done
        with self.progress:
            self._restore()
            started = perf_counter() - self.state.seconds
            saved = perf_counter()
            while not self.finished():
                record = self._next_epoch()
                self.state.seconds = perf_counter() - started
                self._record(record)
                if MONITOR in record or perf_counter() - saved > CHECKPOINT_SECONDS:
                    self._save()
                    saved = perf_counter()
            self.model.load_state_dict(self.best)
            test = self.test(*self.model.final())
            self.state.seconds = perf_counter() - started
            return self._finish(test)

    def finished(self) -> bool:
        """Whether no epoch is left to train."""
        exhausted = self.state.bad_evaluations >= self.settings.patience
        return exhausted or self.state.epoch >= self.settings.max_epochs

    def train_epoch(self, epoch: int) -> dict[str, float]:
        """Walks all training interactions once.

        Args:
            epoch: its number, from 1; decides the negatives, the order, the masks and the dropout.

        Returns:
            The mean of every loss term over the steps.

        Raises:
            DivergenceError: a mean is not finite.
        """
        self.model.train()
        batches = self.batches(epoch)
        sums: dict[str, Tensor] = {}
        for index, batch in enumerate(batches):
            step = (epoch - 1) * len(batches) + index
            seed = ops.derive_seed(self.settings.seed, _STEP, step)
            if self.replayed is None:
                terms = train_step(self.model, self.optimizer, batch, seed, index)
            else:
                terms = self.replayed(batch, seed, index)
            for name, term in terms.items():
                # Read once an epoch: a step must not wait for its loss.
                if name in sums:
                    sums[name] += term.detach()
                else:
                    sums[name] = term.detach().double()
            self.progress.step(epoch, (index + 1) / len(batches))
        means = torch.stack(list(sums.values())).div(len(batches)).tolist()
        losses = dict.fromkeys(TERMS, 0.0) | dict(zip(sums, means, strict=True))
        bad = {name: loss for name, loss in losses.items() if not math.isfinite(loss)}
        if bad:
            got = " and ".join(str(loss) for loss in bad.values())
            raise DivergenceError(
                f"Trainer: {' and '.join(bad)} must be finite (got {got} in epoch {epoch}; "
                f"try a learning_rate below {self.settings.learning_rate:g})"
            )
        return losses

    def batches(self, epoch: int) -> list[Batch]:
        """The shuffled triplets of an epoch; every training interaction is in one batch."""
        seed, graph = self.settings.seed, self.model.graph
        negatives = ops.sample_negatives(graph, ops.derive_seed(seed, _NEGATIVES, epoch))
        # Drawn on the CPU, so that the order is the same on every device.
        generator = torch.Generator().manual_seed(ops.derive_seed(seed, _SHUFFLE, epoch))
        order = torch.randperm(len(negatives), generator=generator)
        order = order.to(self.device, non_blocking=True)
        columns = (
            column.index_select(0, order).split(self.settings.batch_size)
            for column in (self.users, self.positives, negatives)
        )
        return [Batch(*parts) for parts in zip(*columns, strict=True)]

    def _next_epoch(self) -> dict[str, float]:
        """Trains one epoch, evaluates if it is time, and counts both."""
        state, settings = self.state, self.settings
        epoch = state.epoch + 1
        started = perf_counter()
        record = {"epoch": epoch, **self.train_epoch(epoch), "seconds": perf_counter() - started}
        state.epoch = epoch
        if epoch % settings.eval_every == 0 or epoch == settings.max_epochs:
            metrics = self.validation(*self.model.final())
            record |= metrics
            if not state.best_epoch or metrics[MONITOR] > state.best_metrics[MONITOR]:
                state.best_epoch, state.best_metrics, state.bad_evaluations = epoch, metrics, 0
                weights = self.model.state_dict()
                self.best = {name: tensor.clone() for name, tensor in weights.items()}
            else:
                state.bad_evaluations += 1
        return record

    def _record(self, record: Mapping[str, float]) -> None:
        self.progress.epoch(record, self.state)
        if self.run is not None:
            self.run.append_metrics(record)
            self.run.log(describe(record, self.state))

    def _save(self) -> None:
        """Writes the checkpoints; `last` first, because `best` can be written again from it."""
        if self.run is None:
            return
        identity = self.run.config.identity
        save_last(self.run.last_path, self.model, self.optimizer, self.state, self.best, identity)
        if self.state.best_epoch == self.state.epoch:
            self._save_best(self.run)

    def _save_best(self, run: RunFolder) -> None:
        metadata = {
            "identity": run.config.identity,
            "epoch": self.state.best_epoch,
            "validation": self.state.best_metrics,
        }
        save_tensors(run.best_path, self.best, metadata)

    def _restore(self) -> None:
        """Goes back to the run's last checkpoint, if there is one."""
        run = self.run
        if run is None:
            return
        if run.last_path.exists():
            identity = run.config.identity
            self.state, self.best = load_last(run.last_path, self.model, self.optimizer, identity)
            self.progress.say(f"going on after epoch {self.state.epoch}")
            run.log(f"going on after epoch {self.state.epoch}")
        run.keep_metrics(self.state.epoch)
        if self.state.best_epoch and _stored_epoch(run) != self.state.best_epoch:
            self._save_best(run)

    def _finish(self, test: dict[str, float]) -> TrainingResult:
        state = self.state
        result = TrainingResult(
            best_epoch=state.best_epoch,
            epochs=state.epoch,
            validation=state.best_metrics,
            test=test,
            seconds=state.seconds,
        )
        if self.run is not None:
            self.run.write_result(asdict(result))
            metrics = "  ".join(f"{name} {value:.4f}" for name, value in test.items())
            self.run.log(f"finished: best epoch {state.best_epoch}, test {metrics}")
        return result

    def _finished_before(self, run: RunFolder) -> TrainingResult | None:
        """The result of a finished run, its weights loaded and its folder left as it is."""
        stored = run.read_result()
        if stored is None:
            return None
        try:
            result = TrainingResult(**stored)
        except TypeError as error:
            raise ValueError(f"run: {run.result_path} must be a result (got {error})") from None
        load_best(run.best_path, self.model, run.config.identity)
        return result


def require_trainable(dataset: Dataset) -> None:
    """Refuses a data set with an empty split.

    Raises:
        ValueError: naming the split.
    """
    for split in SPLITS:
        if not getattr(dataset, split).count_nonzero():
            raise ValueError(f"Trainer: {split} must have at least one interaction (got none)")


def _stored_epoch(run: RunFolder) -> int | None:
    """The epoch of `best.safetensors`, None where it is missing or damaged."""
    try:
        return int(load_tensors(run.best_path)[1]["epoch"])
    except (FileNotFoundError, ValueError, KeyError):
        return None
