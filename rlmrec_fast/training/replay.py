"""Training steps that are recorded once and replayed: one launch instead of hundreds.

A CUDA graph repeats the kernels of a step at the addresses that they had. So batches and seeds are
copied to where the recording looks for them, and nothing that changes from step to step may come
from the host: seeds go through a tensor of the device, from which `ops.derive_seed` derives others
there. Steps that draw what others then work on are taken as usual, and put it where the recording
looks; what an alignment draws on the host is drawn before a step is replayed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor

from rlmrec_fast.alignment import Alignment, Recommender
from rlmrec_fast.backbones import Backbone, Batch
from rlmrec_fast.ops.random import Seed

WARM_UP = 3
"""Steps before the recording: they load kernels and make what lasts, such as Adam's moments."""

Terms = dict[str, Tensor]


class Recorder(Protocol):
    """What records work and repeats it."""

    def warm_up(self, work: Callable[[], Terms]) -> Terms:
        """Does the work the way that recording wants it to have been done before."""

    def record(self, work: Callable[[], Terms]) -> tuple[Terms, Callable[[], None]]:
        """Records the work, which is not done by that.

        Returns:
            Tensors that hold what the work gave, once it has been replayed; and what replays it.
        """


class CudaGraphs:
    """Records CUDA graphs.

    Args:
        optimizer: a fused one, whose steps are part of the work.
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer
        self._stream = torch.cuda.Stream()

    def warm_up(self, work: Callable[[], Terms]) -> Terms:
        """See `Recorder.warm_up`: on a stream of its own, with which the current one is in step."""
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            terms = work()
        torch.cuda.current_stream().wait_stream(self._stream)
        return terms

    def record(self, work: Callable[[], Terms]) -> tuple[Terms, Callable[[], None]]:
        """See `Recorder.record`."""
        graph = torch.cuda.CUDAGraph()
        with capturable(self.optimizer), torch.cuda.graph(graph, stream=self._stream):
            terms = work()
        return terms, graph.replay


@contextmanager
def capturable(optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Tells torch that the optimizer's steps may be recorded: fused ones may, its guard asks."""
    for group in optimizer.param_groups:
        group["capturable"] = True
    try:
        yield
    finally:
        for group in optimizer.param_groups:
            group["capturable"] = False


class ReplayedStep:
    """Takes training steps by replaying a recorded one.

    The first `WARM_UP` steps of full batches are taken as usual, then one is recorded, and that is
    replayed from then on. Batches of another size, as the last one of an epoch, are taken as usual,
    and so are steps that draw (`Backbone.draws`).

    Args:
        model: what is trained; it is told that its steps are recorded.
        take: takes a step on a batch, by seed and number in the epoch, and returns the terms of its
            loss.
        size: of a full batch.
        recorder: what records.
    """

    def __init__(
        self,
        model: Recommender,
        take: Callable[[Batch, Seed, int], Terms],
        size: int,
        recorder: Recorder,
    ) -> None:
        model.backbone.recorded = True
        device = model.graph.device
        self._model = model
        self._take = take
        self._recorder = recorder
        self._batch = Batch(
            *(torch.zeros(size, dtype=torch.int64, device=device) for _ in Batch._fields)
        )
        self._seed = torch.zeros(1, dtype=torch.int64, device=device)
        self._step = 0
        self._warm = 0
        self._recording: tuple[Terms, Callable[[], None]] | None = None

    def __call__(self, batch: Batch, seed: int, step: int) -> Terms:
        """Takes a step.

        Args:
            batch: the triplets.
            seed: seed of the step.
            step: its number in the epoch, from 0.

        Returns:
            The loss before the step, term by term, in tensors that later steps leave alone.
        """
        if len(batch.users) != len(self._batch.users) or self._model.backbone.draws(step):
            return self._take(batch, seed, step)
        if self._model.alignment is not None:
            self._model.alignment.prepare(seed)
        self._step = step
        for own, given in zip(self._batch, batch, strict=True):
            own.copy_(given)
        self._seed.fill_(seed)
        if self._warm < WARM_UP:
            self._warm += 1
            terms = self._recorder.warm_up(self._work)
        else:
            if self._recording is None:
                self._recording = self._recorder.record(self._work)
            terms, replay = self._recording
            replay()
        return {name: term.clone() for name, term in terms.items()}

    def _work(self) -> Terms:
        terms = self._take(self._batch, self._seed, self._step)
        # Without its history, which would keep the step's tensors.
        return {name: term.detach() for name, term in terms.items()}


def _overrides(kind: type, base: type, method: str) -> bool:
    return getattr(kind, method) is not getattr(base, method)


def require_replayable(
    backbone: type[Backbone], alignment: type[Alignment] | None, device: torch.device
) -> None:
    """Refuses models whose steps cannot be recorded, and devices that record nothing.

    Raises:
        ValueError: naming what does not say when it draws, or the device.
    """
    secret: list[str] = []
    if _overrides(backbone, Backbone, "prepare") and not _overrides(backbone, Backbone, "draws"):
        secret.append(f"{backbone.__name__}, that has prepare without draws")
    aligned = alignment or Alignment
    if _overrides(aligned, Alignment, "mask") and not _overrides(aligned, Alignment, "prepare"):
        secret.append(f"{aligned.__name__}, that has mask without prepare")
    if secret:
        raise ValueError(
            "--cuda-graph must be left out with models that do not say when they draw what their "
            f"steps work on (got {' and '.join(secret)})"
        )
    if device.type != "cuda":
        raise ValueError(f"--cuda-graph must come with --device cuda (got --device {device})")
