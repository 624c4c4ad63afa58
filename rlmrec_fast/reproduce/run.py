"""What the command `reproduce` does."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rlmrec_fast.data.synthetic import synthesize
from rlmrec_fast.errors import IncompleteError
from rlmrec_fast.reproduce.grid import (
    REPORT_MODELS,
    Cell,
    Found,
    Source,
    find_elsewhere,
    find_result,
    make_grid,
)
from rlmrec_fast.reproduce.index import render
from rlmrec_fast.reproduce.pages import make_pages
from rlmrec_fast.reproduce.queue import Queue, is_locked, only_one
from rlmrec_fast.reproduce.results import comparisons, overlaps, result_rows
from rlmrec_fast.reproduce.study import Study
from rlmrec_fast.training.files import write_text
from rlmrec_fast.training.model import ALIGNMENTS

QUICK = {"max_epochs": "12", "eval_every": "3", "dim": "16"}
QUICK_MODELS = ("lightgcn", "gccf")


@dataclass(frozen=True)
class ReproduceRequest:
    """What `reproduce` is asked for.

    Attributes:
        out: The folder of the study.
        data: Data sets' folders.
        models: Backbones; empty for the report's.
        aligns: Alignments; empty for all.
        seeds: Seeds.
        runs: Folders of finished runs, or of such folders, that are taken where they serve.
        preset: Published settings; by the data sets' names if None.
        changes: Settings other than these.
        jobs: Most processes at once; None for what processors and memory allow.
        threads: Threads of each; None for an equal share of the processors.
        quick: Whether to make do with small synthetic data and few epochs.
        pages: Whether to make analysis pages.
        method: Of their maps.
    """

    out: Path
    data: Sequence[Path] = ()
    models: Sequence[str] = ()
    aligns: Sequence[str] = ()
    seeds: Sequence[int] = (2023,)
    runs: Sequence[Path] = ()
    preset: str | None = None
    changes: Mapping[str, str] = field(default_factory=dict)
    jobs: int | None = None
    threads: int | None = None
    quick: bool = False
    pages: bool = True
    method: str = "umap"

    def __post_init__(self) -> None:
        for name in ("jobs", "threads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"--{name} must be at least 1 (got {value})")
        if not self.data and not self.quick:
            raise ValueError("reproduce: --data must name data sets' folders (got nothing)")
        if self.method not in ("umap", "pca", "pacmap"):
            raise ValueError(f"--map must be umap, pca or pacmap (got {self.method!r})")


def plan(request: ReproduceRequest) -> tuple[list[Cell], dict[str, Found], list[str]]:
    """The grid, the runs of it that are finished, and notes on some that do not serve.

    Raises:
        ValueError: The grid is not one, or a folder of it holds another run.
        FileNotFoundError: A data set or folder of runs is not there.
    """
    changes = {**(QUICK if request.quick else {}), **request.changes}
    models = request.models or (QUICK_MODELS if request.quick else REPORT_MODELS)
    data = request.data or [_quick_data(request.out)]
    sources = [Source.load(path, request.preset) for path in data]
    aligns = request.aligns or ALIGNMENTS
    cells = make_grid(sources, models, aligns, request.seeds, changes, request.out)
    finished, notes = find_elsewhere(cells, request.runs)
    for cell in cells:
        found = find_result(cell)
        if found is not None:
            finished[cell.name] = found
    return cells, finished, notes


def _quick_data(out: Path) -> Path:
    path = out / "data"
    if not path.exists():
        synthesize(600, 300, 15_000, name="quick").save(path)
    return path


def reproduce(request: ReproduceRequest) -> Study:
    """Trains what is missing and writes `results.json`, `results.csv` and `index.html`.

    Returns:
        The study, in which some runs may have failed.

    Raises:
        KeyboardInterrupt: After Ctrl-C; everything can be resumed.
        ValueError: As `plan`; or another process works on this study.
    """
    with only_one(request.out):
        cells, finished, notes = plan(request)
        for note in notes:
            print(note, file=sys.stderr)
        processors = len(os.sched_getaffinity(0))
        jobs = request.jobs or max(1, processors // (request.threads or 2))
        threads = request.threads or max(1, processors // jobs)
        queue = Queue(cells, jobs, threads, finished)
        print(
            f"{len(cells)} runs, {len(finished)} of them finished; {jobs} at once with {threads}"
            f" threads each, in {request.out}",
            file=sys.stderr,
        )
        queue.run()
        study = summarize(request, cells, queue.finished, queue.failed)
        write(study)
    return study


def require_complete(study: Study) -> None:
    """Refuses to be content with a study in which runs failed.

    Raises:
        IncompleteError: Some did.
    """
    if study.failed:
        raise IncompleteError(
            f"reproduce: {len(study.failed)} of {len(study.cells)} runs failed"
            f" ({', '.join(study.failed)}); the others are in {study.out / 'index.html'}; run the"
            " same command again to try them once more"
        )


def summarize(
    request: ReproduceRequest,
    cells: Sequence[Cell],
    finished: Mapping[str, Found],
    failed: Mapping[str, str],
) -> Study:
    """Computes the tables of a study and makes its pages."""
    sources = list({cell.source.name: cell.source for cell in cells}.values())
    pages, pages_failed = (
        make_pages(cells, finished, request.out, request.method) if request.pages else ({}, {})
    )
    return Study(
        out=request.out,
        cells=cells,
        finished=finished,
        failed=failed,
        rows=result_rows(cells, finished),
        comparisons=[row for own in sources for row in comparisons(own, cells, finished)],
        overlap={own.name: overlaps(own, cells, finished) for own in sources},
        pages=pages,
        pages_failed=pages_failed,
    )


def write(study: Study) -> None:
    """Writes the files of a study, each in a single step."""
    write_text(study.out / "results.json", json.dumps(study.facts(), indent=1) + "\n")
    write_text(study.out / "results.csv", study.csv())
    write_text(study.out / "index.html", render(study))


def states(cells: Sequence[Cell], finished: Mapping[str, Found]) -> list[tuple[str, str]]:
    """Every cell's name and what there is of it."""
    found = []
    for cell in cells:
        if cell.name in finished:
            state = f"finished in {finished[cell.name].path}"
        elif is_locked(cell.path):
            state = "under way in another process"
        else:
            state = "to be resumed" if (cell.path / "config.yaml").is_file() else "to be trained"
        found.append((cell.name, state))
    return found
