"""`rlmrec-fast data`: import, synth, info."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from rlmrec_fast.errors import user_errors

app = typer.Typer(
    name="data",
    help="Make, import and look at data sets.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)

_Out = Annotated[
    Path, typer.Argument(metavar="OUT", help="The data set folder to write.", show_default=False)
]
_Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace OUT if it is a data set already.")
]


@app.command("import")
@user_errors()
def import_(
    folder: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="A folder with RLMRec's own files.", show_default=False),
    ],
    out: _Out,
    overwrite: _Overwrite = False,
) -> None:
    """Import RLMRec's own files into a data set folder without pickles.

    DIR must hold `trn_mat.pkl`, `val_mat.pkl` and `tst_mat.pkl`; it may hold text vectors
    (`usr_emb_np.pkl` or `user_embeddings.npy`, and so for items) and texts (`usr_prf.pkl` or
    `user_profiles.csv`, and so for items). The pickles are read as data: nothing in them is
    executed, and anything but arrays and plain containers is refused by name.

    Example: `rlmrec-fast data import RLMRec/data/amazon data/amazon`
    """
    from rlmrec_fast.data.folder import check_place
    from rlmrec_fast.data.rlmrec import read_rlmrec

    check_place(out, overwrite)
    dataset = read_rlmrec(folder)
    dataset.save(out, overwrite=overwrite)
    typer.echo(f"{out}: {dataset!r}")


@app.command()
@user_errors()
def synth(
    out: _Out,
    users: Annotated[int, typer.Option(help="Number of users.")] = 2000,
    items: Annotated[int, typer.Option(help="Number of items, at least 5.")] = 1000,
    interactions: Annotated[
        int, typer.Option(help="Number of interactions, at least 5 a user; split 3:1:1.")
    ] = 40_000,
    seed: Annotated[int, typer.Option(help="The same seed makes the same data.")] = 2023,
    overwrite: _Overwrite = False,
) -> None:
    """Make a synthetic data set whose texts agree with its interactions.

    Every item gets a title and a readable profile, every user a text on what they like; text
    vectors are made from these (TF-IDF and truncated SVD).

    Example: `rlmrec-fast data synth data/toy --users 2000 --items 1000 --interactions 40000`
    """
    from rlmrec_fast.data.folder import check_place
    from rlmrec_fast.data.synthetic import synthesize

    check_place(out, overwrite)
    dataset = synthesize(users, items, interactions, seed)
    dataset.save(out, overwrite=overwrite)
    typer.echo(f"{out}: {dataset!r}")


@app.command()
@user_errors()
def info(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="A data set folder, ours or RLMRec's own.", show_default=False
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Print sizes, density, degree quantiles and text coverage of a data set.

    Example: `rlmrec-fast data info data/amazon`
    """
    from rlmrec_fast.data.dataset import Dataset
    from rlmrec_fast.data.summary import summarize

    summary = summarize(Dataset.load(folder))
    if as_json:
        typer.echo(json.dumps(summary, indent=2))
    else:
        _print_summary(summary)


def _print_summary(summary: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("", "users", "items", title=escape(summary["name"]), title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    users, items = summary["users"], summary["items"]
    table.add_row("number", f"{summary['num_users']:,}", f"{summary['num_items']:,}")
    for quantile in users["degrees"]:
        unit = f"training interactions, {quantile}"
        table.add_row(unit, *(f"{side['degrees'][quantile]:,.5g}" for side in (users, items)))
    for split in users["without"]:
        table.add_row(
            f"without {split} interactions",
            *(f"{side['without'][split]:,}" for side in (users, items)),
        )
    for text in ("titles", "profiles"):
        table.add_row(f"with {text}", *(_count(side["text"][text]) for side in (users, items)))
    table.add_row("text vectors", *(_vectors(side["text"]["vectors"]) for side in (users, items)))

    console = Console()
    counts = summary["interactions"]
    if summary["source"]:
        console.print(f"source        {summary['source']}", markup=False, highlight=False)
    parts = ", ".join(f"{split} {counts[split]:,}" for split in counts if split != "total")
    console.print(f"interactions  {counts['total']:,}: {parts}", highlight=False)
    console.print(f"density       {summary['density']:.3%} (training)", highlight=False)
    shared = {pair: count for pair, count in summary["overlap"].items() if count}
    text = ", ".join(f"{pair.replace('_', '/')} {count:,}" for pair, count in shared.items())
    console.print(f"split overlap {text or 'none'}", highlight=False)
    console.print(table)


def _count(value: int | None) -> str:
    return "no table" if value is None else f"{value:,}"


def _vectors(vectors: dict[str, Any] | None) -> str:
    if vectors is None:
        return "none"
    faults = [
        f"{vectors[key]:,} {words}"
        for key, words in (("zero_rows", "zero"), ("non_finite_rows", "NaN or infinite"))
        if vectors[key]
    ]
    return ", ".join([f"{vectors['dim']} x {vectors['dtype']}", *faults])
