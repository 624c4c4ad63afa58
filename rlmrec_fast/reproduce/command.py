"""The command `reproduce`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from rlmrec_fast.errors import resumable, user_errors

if TYPE_CHECKING:
    from rlmrec_fast.reproduce.study import Study

_MANY = ("--data", "--models", "--align", "--seeds", "--runs")


class ManyValues(TyperCommand):
    """Lets some options take several values: `--seeds 1 2 3` is `--seeds 1 --seeds 2 --seeds 3`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Repeats an option's name before each of its values."""
        words: list[str] = []
        option, fresh = None, False
        for word in args:
            if word.startswith("-") and not word[1:2].isdigit():
                option, fresh = (word if word in _MANY else None), True
            elif option is not None and not fresh:
                words.append(option)
            else:
                fresh = False
            words.append(word)
        return super().parse_args(ctx, words)


@user_errors()
def reproduce(
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="STUDY", help="The folder of the study.")
    ] = Path("study"),
    data: Annotated[
        list[Path] | None,
        typer.Option(metavar="DATA...", help="Data sets, ours or RLMRec's.", show_default=False),
    ] = None,
    models: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODEL...",
            help="Backbones. [lightgcn gccf sgl simgcl autocf]",
            show_default=False,
        ),
    ] = None,
    align: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ALIGN...",
            help="Alignments. [none contrastive generative]",
            show_default=False,
        ),
    ] = None,
    seeds: Annotated[
        list[int] | None, typer.Option(metavar="SEED...", help="Seeds. [2023]", show_default=False)
    ] = None,
    runs: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="RUN...",
            help="Finished runs, or folders of them, to be taken where they serve.",
            show_default=False,
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(help="amazon, yelp, steam or default. [by the data sets' names]"),
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="At most so many epochs. [3000]")] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Change a setting of the models that have it."
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(help="Most trainings at once, memory allowing. [a half of the processors]"),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(help="Threads of each. [an equal share of the processors]")
    ] = None,
    pages: Annotated[
        bool, typer.Option("--pages/--no-pages", help="Make the runs' analysis pages.")
    ] = True,
    method: Annotated[
        str, typer.Option("--map", help="Of their maps: umap, pca, pacmap.")
    ] = "umap",
    quick: Annotated[
        bool, typer.Option("--quick", help="A taste: small synthetic data, few epochs.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell what would be trained, and train nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on one line.")] = False,
) -> None:
    """Train the grid of data sets, models, alignments and seeds; print and keep its tables.

    STUDY gets a folder for every run, `results.json`, `results.csv` and `index.html`, which links
    the runs' analysis pages. Each run is a process of its own: one that fails does not stop the
    others. Run the same command again after Ctrl-C, a crash or kill -9: finished runs are kept,
    others resumed to the very same bits, failed ones tried once more.

    Exit codes: 0 done, 2 a wrong request, 4 some runs failed, 130 Ctrl-C or SIGTERM.

    Example: `rlmrec-fast reproduce --quick -o study`

    Example: `rlmrec-fast reproduce --data data/amazon data/yelp data/steam --seeds 2023 1 2`

    Example: `rlmrec-fast reproduce --data data/amazon --models lightgcn sgl --align none
    contrastive --jobs 2 --threads 4 --runs runs/amazon-lightgcn-2023`
    """
    from rlmrec_fast.reproduce import run
    from rlmrec_fast.training.commands import changes_from

    asked = changes_from(changes or [], max_epochs=epochs)
    if "seed" in asked:
        raise ValueError("--set: seed must be given as --seeds (got --set seed=...)")
    request = run.ReproduceRequest(
        out=out,
        data=data or [],
        models=models or [],
        aligns=align or [],
        seeds=seeds or [2023],
        runs=runs or [],
        preset=preset,
        changes={name: str(value) for name, value in asked.items()},
        jobs=jobs,
        threads=threads,
        quick=quick,
        pages=pages,
        method=method,
    )
    if dry_run:
        cells, finished, notes = run.plan(request)
        states = run.states(cells, finished)
        if as_json:
            typer.echo(json.dumps({"runs": dict(states), "notes": notes}))
        else:
            typer.echo("\n".join([*(f"{name}  {state}" for name, state in states), *notes]))
        return
    with resumable():
        study = run.reproduce(request)
    _print(study, as_json)
    run.require_complete(study)


def _print(study: Study, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(study.facts()))
        return
    from rlmrec_fast.reproduce.tables import tables

    for table in tables(study):
        typer.echo(f"{table.title}\n{table.text()}\n{table.note}\n")
    typer.echo(f"The study: {study.out / 'index.html'}")
