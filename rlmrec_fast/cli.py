"""The command line `rlmrec-fast`: each command is a few lines over the package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from rlmrec_fast.errors import user_errors

with user_errors():
    import typer

    from rlmrec_fast.data.commands import app as data_app
    from rlmrec_fast.reproduce.command import ManyValues, reproduce
    from rlmrec_fast.semantic.encode_command import encode
    from rlmrec_fast.semantic.profile_command import profile
    from rlmrec_fast.serving import cli as serving

app = typer.Typer(
    help="Train, evaluate and use graph recommenders.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
app.add_typer(data_app, name="data")
app.command()(profile)
app.command()(serving.recommend)
app.command()(serving.similar)
app.command()(serving.export)
app.command()(encode)
app.command(cls=ManyValues)(reproduce)

DataOption = Annotated[
    Path | None,
    typer.Option("--data", help="Data set: this package's folder, or RLMRec's own files."),
]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a trained run.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on one line.")]


@app.command()
@user_errors()
def train(
    data: DataOption = None,
    model: Annotated[
        str | None, typer.Option(help="Backbone; see `rlmrec-fast models`. [lightgcn]")
    ] = None,
    align: Annotated[
        str | None,
        typer.Option(help="contrastive or generative alignment with the texts' vectors. [none]"),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(help="amazon, yelp, steam or default. [by the data set's name]"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="Run folder. [runs/DATA-MODEL[-ALIGN]-SEED]"),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Decides all randomness. [2023]")] = None,
    threads: Annotated[
        int | None, typer.Option(help="Threads of the operators. [torch's choice]")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    cuda_graph: Annotated[
        bool,
        typer.Option(
            "--cuda-graph", help="Record a step once and replay it: one launch for hundreds."
        ),
    ] = False,
    epochs: Annotated[int | None, typer.Option(help="At most so many epochs. [3000]")] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a setting; may be repeated."),
    ] = None,
    allow_zero_vectors: Annotated[
        bool,
        typer.Option("--allow-zero-vectors", help="Align with text vectors that are zero, too."),
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run.")] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run; ends with the very same bits.")
    ] = False,
) -> None:
    """Train a model with early stopping and evaluate its best weights on the test items.

    The result does not depend on the number of threads. Ctrl-C, or even kill -9, leaves a run that
    --resume continues as if nothing had happened.

    Example: `rlmrec-fast train --data amazon --model lightgcn`

    Example: `rlmrec-fast train --data amazon --seed 1 --set dim=64 --set reg_weight=1e-5`

    Example: `rlmrec-fast train --data amazon --model sgl --set augmentation=random_walk`

    Example: `rlmrec-fast train --data amazon --align contrastive --set projector_dtype=bfloat16`

    Example: `rlmrec-fast train --resume --out runs/amazon-lightgcn-2023`
    """
    from rlmrec_fast.training import commands

    request = commands.TrainRequest(
        data=data,
        model=model,
        align=align,
        preset=preset,
        out=out,
        changes=commands.changes_from(changes or [], seed=seed, max_epochs=epochs),
        threads=threads,
        device=device,
        cuda_graph=cuda_graph,
        overwrite=overwrite,
        resume=resume,
        allow_zero_vectors=allow_zero_vectors,
    )
    raise typer.Exit(commands.train(request))


@app.command()
@user_errors()
def evaluate(
    run: RunArgument,
    split: Annotated[str, typer.Option(help="test or validation.")] = "test",
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print Recall and NDCG of a run's best weights.

    Example: `rlmrec-fast evaluate runs/amazon-lightgcn-2023`

    Example: `rlmrec-fast evaluate runs/amazon-lightgcn-2023 --split validation --json`
    """
    from rlmrec_fast.training import commands

    commands.evaluate(run, split, data, as_json)


@app.command()
@user_errors()
def overlap(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of trained runs.")],
    k: Annotated[int, typer.Option("-k", help="How many neighbours.")] = 100,
    side: Annotated[str, typer.Option(help="items or users.")] = "items",
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print how far the neighbours of items in the embeddings are those in their texts.

    The mean Jaccard index of the k nearest items by cosine, for every backbone and alignment among
    the runs, with the relative gain over the backbone; runs that differ in the seed are averaged.

    Example: `rlmrec-fast overlap runs/amazon-lightgcn-2023 runs/amazon-lightgcn-contrastive-2023`

    Example: `rlmrec-fast overlap runs/* --side users -k 50 --json`
    """
    from rlmrec_fast.analysis import commands

    commands.overlap(runs, k, side, data, as_json)


@app.command()
@user_errors()
def analyze(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="RUN...", help="Folders of trained runs.", show_default=False),
    ] = None,
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="REPORT", help="The folder to write.")
    ] = Path("report"),
    k: Annotated[
        list[int] | None,
        typer.Option("-k", help="How many neighbours; may be repeated. [10 20 50 100]"),
    ] = None,
    method: Annotated[str, typer.Option("--map", help="umap, pca or pacmap.")] = "umap",
    item: Annotated[
        list[str] | None,
        typer.Option(help="Id of an item for a case study; may be repeated."),
    ] = None,
    data: DataOption = None,
    text: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Text vectors (.npy), in place of runs.")
    ] = None,
    table: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=FILE", help="Embeddings (.npy), with --text; repeated."),
    ] = None,
    titles: Annotated[
        Path | None, typer.Option(metavar="FILE", help="One title a line, with --text.")
    ] = None,
    popularity: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Training interactions (.npy), with --text."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides all randomness.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the report.")] = False,
) -> None:
    """Write a report on whether the embeddings of runs agree with the texts.

    REPORT gets `index.html`, a page that needs nothing but itself, every figure as PNG and SVG,
    `summary.json` and `table.csv`. Embeddings of any other recommender are taken as `.npy` tables.

    Example: `rlmrec-fast analyze runs/base runs/contrastive runs/generative -o report`

    Example: `rlmrec-fast analyze --text items.npy --table base=base.npy --table mine=mine.npy`
    """
    from rlmrec_fast.analysis import commands

    commands.analyze(
        commands.AnalyzeRequest(
            runs=runs or [],
            out=out,
            data=data,
            text=text,
            tables=table or [],
            titles=titles,
            popularity=popularity,
            ks=k or commands.KS,
            method=method,
            items=item or [],
            seed=seed,
            overwrite=overwrite,
        )
    )


@app.command()
@user_errors()
def models() -> None:
    """Print the backbones, alignments and presets that can be trained, with papers and settings.

    Example: `rlmrec-fast models`
    """
    from rlmrec_fast.training import commands

    commands.models()


def main() -> None:
    """Runs the command line."""
    app(prog_name="rlmrec-fast")


if __name__ == "__main__":
    main()
