"""What the commands `train`, `evaluate` and `models` do."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console
from rich.table import Table

from rlmrec_fast import alignment
from rlmrec_fast.backbones import BACKBONES
from rlmrec_fast.errors import INTERRUPTED, interruptible
from rlmrec_fast.memory import keep_freed_memory, settled
from rlmrec_fast.training.evaluation import CUTOFFS
from rlmrec_fast.training.inference import TrainedRun
from rlmrec_fast.training.model import create_model, parse_device, require_available
from rlmrec_fast.training.presets import (
    COMMON,
    DEFAULT,
    FALLBACK,
    PUBLISHED,
    choose_preset,
    preset_names,
)
from rlmrec_fast.training.progress import progress_on
from rlmrec_fast.training.replay import require_replayable
from rlmrec_fast.training.run import RunConfig, RunFolder
from rlmrec_fast.training.settings import Settings, parse_changes
from rlmrec_fast.training.texts import require_texts
from rlmrec_fast.training.trainer import (
    DivergenceError,
    Trainer,
    TrainingResult,
    require_trainable,
)

if TYPE_CHECKING:
    from rlmrec_fast.data import Dataset


@dataclass(frozen=True)
class TrainRequest:
    """What `train` was asked for; None where nothing was said.

    Attributes:
        data: the data set's folder.
        model: backbone; `lightgcn` for a new run.
        align: alignment; `none` for a new run.
        preset: published settings to start from; by the data set's name for a new run.
        out: run folder; named after data set, model and seed by default.
        changes: setting -> value.
        threads: threads of the operators.
        device: `cpu` or `cuda`.
        cuda_graph: whether to record a step once and replay it.
        overwrite: whether to replace a run.
        resume: whether to continue a run.
        allow_zero_vectors: whether a new run aligns with text vectors that are zero, too.
    """

    data: Path | None = None
    model: str | None = None
    align: str | None = None
    preset: str | None = None
    out: Path | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    threads: int | None = None
    device: str = "cpu"
    cuda_graph: bool = False
    overwrite: bool = False
    resume: bool = False
    allow_zero_vectors: bool = False


def changes_from(assignments: list[str], **flags: int | None) -> dict[str, Any]:
    """The settings changed by `--set` and by flags of their own.

    Raises:
        ValueError: an unknown setting, or one given twice.
    """
    changes: dict[str, Any] = parse_changes(assignments)
    for name in ("model", "align"):
        if name in changes:
            raise ValueError(f"--set: {name} must be given as --{name} (got --set {name}=...)")
    for name, value in flags.items():
        if value is not None and name in changes:
            raise ValueError(f"--set: {name} must be given once (got a flag as well)")
        if value is not None:
            changes[name] = value
    return changes


def train(request: TrainRequest) -> int:
    """Trains a new run, or continues one; prints the result.

    Returns:
        The exit code: 0, or 130 after Ctrl-C or SIGTERM.

    Raises:
        ValueError: a wrong setting, device or data set.
        FileExistsError: the run exists and neither `resume` nor `overwrite` was said.
        FileNotFoundError: no data set, or no run to resume.
    """
    if request.resume and request.overwrite:
        raise ValueError("train: --resume and --overwrite must not be given together (got both)")
    if request.threads is not None:
        if request.threads < 1:
            raise ValueError(f"--threads must be at least 1 (got {request.threads})")
        torch.set_num_threads(request.threads)
    keep_freed_memory()
    device = parse_device(request.device)
    console = _console(stderr=True)
    run, dataset = _resume(request) if request.resume else _start(request, device, console)
    with run:
        finished = run.read_result() is not None
        settings = run.config.settings
        progress = progress_on(console, settings)
        try:
            # A run to resume has passed the check of its very vectors when it was started.
            zeros = request.allow_zero_vectors or request.resume
            model = create_model(settings, dataset, device, zeros)
            trainer = Trainer(model, dataset, settings, run, progress, request.cuda_graph)
            with settled(), interruptible():
                result = trainer.fit()
        except KeyboardInterrupt:
            run.log("interrupted")
            command = resume_command(run.path, request)
            console.print(f"interrupted; go on with: {command}", soft_wrap=True)
            return INTERRUPTED
        except DivergenceError as error:
            run.log(str(error))
            raise
    if finished:
        console.print(f"{run.path} is finished: nothing to do", soft_wrap=True)
    _print_result(result, run.path)
    return 0


def resume_command(path: Path, request: TrainRequest) -> str:
    """The command that continues a run the way it was started."""
    words = ["rlmrec-fast", "train", "--resume", "--out", str(path)]
    if request.data is not None and request.resume:
        words += ["--data", str(request.data)]
    if request.threads is not None:
        words += ["--threads", str(request.threads)]
    if request.device != "cpu":
        words += ["--device", request.device]
    if request.cuda_graph:
        words.append("--cuda-graph")
    return shlex.join(words)


def _start(
    request: TrainRequest, device: torch.device, console: Console
) -> tuple[RunFolder, Dataset]:
    if request.data is None:
        raise ValueError("train: --data must name a data set's folder (got nothing)")
    model, align = request.model or "lightgcn", request.align or "none"
    require_available(model, align)
    if request.cuda_graph:
        require_replayable(BACKBONES[model], alignment.ALIGNMENTS.get(align), device)
    dataset = _load(request.data)
    require_trainable(dataset)
    preset = request.preset or choose_preset(
        [dataset.name, Path(os.path.abspath(request.data)).name]
    )
    settings = Settings.of(model, align, preset, request.changes)
    texts = [] if align == "none" else [require_texts(dataset, request.allow_zero_vectors)]
    path = request.out or default_run(dataset.name, settings)
    config = RunConfig.of(settings, preset, dataset, request.data)
    run = RunFolder.create(path, config, request.overwrite)
    aligned = "" if align == "none" else f", {align} alignment,"
    used = ", ".join(f"{name} {value}" for name, value in settings.used().items())
    facts = "\n".join(
        [
            f"{model}{aligned} on {dataset.name}: {dataset.train.shape[0]} users, "
            f"{dataset.train.shape[1]} items, {dataset.train.nnz} training interactions",
            *texts,
            f"preset {preset}: {used}",
            f"run {path}, {torch.get_num_threads()} threads, device {request.device}",
        ]
    )
    run.log(facts)
    console.print(facts, soft_wrap=True)
    return run, dataset


def _resume(request: TrainRequest) -> tuple[RunFolder, Dataset]:
    path, dataset = request.out, None
    if path is None:
        if request.data is None:
            raise ValueError("train: --resume needs --out RUN, or the --data it was started with")
        model, align = request.model or "lightgcn", request.align or "none"
        require_available(model, align)
        dataset = _load(request.data)
        path = default_run(dataset.name, Settings.of(model, align, changes=request.changes))
    run = RunFolder.open(path, exclusive=True)
    try:
        _require_same_settings(run.config, request)
        dataset = dataset or _load(request.data or Path(run.config.data.path))
    except BaseException:
        run.close()
        raise
    return run, dataset


def _require_same_settings(config: RunConfig, request: TrainRequest) -> None:
    """Refuses settings on the command line that are not those of the run to resume."""
    stored = config.settings.used()
    kept = {**stored, "preset": config.preset}
    asked = Settings.checked({**stored, **request.changes}).used()
    named = {"model": request.model, "align": request.align, "preset": request.preset}
    asked |= {name: value for name, value in named.items() if value is not None}
    for name, value in asked.items():
        if value != kept.get(name):
            raise ValueError(
                f"train: --resume must keep the run's {name} {kept.get(name)} (got {value})"
            )


def default_run(dataset: str, settings: Settings) -> Path:
    """`runs/<data set>-<model>[-<alignment>]-<seed>`."""
    align = [] if settings.align == "none" else [settings.align]
    parts = [re.sub(r"[^\w.-]+", "-", dataset), settings.model, *align, str(settings.seed)]
    return Path("runs") / "-".join(parts)


def evaluate(run: Path, split: str, data: Path | None, as_json: bool) -> None:
    """Prints the metrics of a run's best weights on a split."""
    trained = TrainedRun.load(run, data)
    metrics = trained.evaluate(split)
    finished = trained.run.read_result() is not None
    if as_json:
        facts = {"run": str(run), "split": split, "epoch": trained.epoch, "finished": finished}
        print(json.dumps({**facts, **metrics}))
        return
    state = "" if finished else "; the run is not finished"
    _print_metrics(f"{run}: {split}, epoch {trained.epoch}{state}", {split: metrics})


def models() -> None:
    """Prints what can be trained: backbones, alignments and presets, with papers and settings."""
    backbones = _table("backbones (--model)", "name", "paper", "settings", "alignments", "presets")
    for name, backbone in BACKBONES.items():
        published = [align for align in alignment.ALIGNMENTS if (name, align) in PUBLISHED]
        presets = preset_names() if (name, "none") in PUBLISHED else ()
        settings = _listed(backbone.parameters_and_defaults())
        backbones.add_row(name, backbone.paper, settings, "\n".join(published), "\n".join(presets))
    alignments = _table("alignments with texts (--align)", "name", "paper", "settings")
    for name, kind in alignment.ALIGNMENTS.items():
        alignments.add_row(name, kind.paper, _listed(kind.parameters_and_defaults()))
    console = _console()
    console.print(backbones)
    console.print(alignments)
    console.print(
        f"All have {_listed(COMMON)}. Change any with --set KEY=VALUE. The settings shown are "
        f"those without alignment of the preset {DEFAULT}, which are {FALLBACK}'s. A preset is "
        "chosen by the data set's name or with --preset."
    )


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", show_lines=True)
    for column in columns:
        table.add_column(column, no_wrap=column in ("name", "alignments", "presets"))
    return table


def _listed(settings: Mapping[str, Any]) -> str:
    """Settings and their values in one line; of a model's those that not all models have."""
    return ", ".join(
        f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in settings.items()
        if settings is COMMON or name not in COMMON
    )


def _console(stderr: bool = False) -> Console:
    """A console that prints text as it is: titles may well hold brackets and colons."""
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)


def _load(path: Path) -> Dataset:
    from rlmrec_fast.data import Dataset

    return Dataset.load(path)


def _print_result(result: TrainingResult, path: Path) -> None:
    rows = {"validation": result.validation, "test": result.test}
    title = (
        f"{path}: best epoch {result.best_epoch} of {result.epochs}, {result.seconds:.1f} s in all"
    )
    _print_metrics(title, rows)


def _print_metrics(title: str, rows: Mapping[str, Mapping[str, float]]) -> None:
    table = Table(title=title, title_justify="left")
    table.add_column("split")
    names = [f"{name}@{cutoff}" for name in ("recall", "ndcg") for cutoff in CUTOFFS]
    for name in names:
        table.add_column(name, justify="right")
    for split, metrics in rows.items():
        table.add_row(split, *(f"{metrics[name]:.4f}" for name in names))
    _console().print(table)
