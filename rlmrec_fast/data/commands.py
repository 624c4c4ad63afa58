"""`rlmrec-fast data`: prepare, download, import, synth, info."""

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


_Columns = "ROLE=COLUMN"


@app.command()
@user_errors()
def prepare(
    out: _Out,
    interactions: Annotated[
        list[Path],
        typer.Option(metavar="FILE", help="Interactions; may be repeated.", show_default=False),
    ],
    items: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="Items; may be repeated.")
    ] = None,
    users: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="Users; may be repeated.")
    ] = None,
    item_vectors: Annotated[
        Path | None, typer.Option(metavar="FILE", help=".npy, one row an item of --items.")
    ] = None,
    user_vectors: Annotated[
        Path | None, typer.Option(metavar="FILE", help=".npy, one row a user of --users.")
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option(metavar=_Columns, help="user, item, rating, time; may be repeated. [guessed]"),
    ] = None,
    item_columns: Annotated[
        list[str] | None,
        typer.Option(metavar=_Columns, help="id, number, title, profile, description. [guessed]"),
    ] = None,
    user_columns: Annotated[
        list[str] | None, typer.Option(metavar=_Columns, help="The same of --users. [guessed]")
    ] = None,
    no_header: Annotated[
        bool, typer.Option("--no-header", help="Text files have no header: columns are 1, 2, ...")
    ] = False,
    separator: Annotated[
        str | None, typer.Option(help="One character between fields. [guessed]")
    ] = None,
    min_rating: Annotated[
        float, typer.Option(help="Lower ratings are no interactions, where there are ratings.")
    ] = 3.0,
    all_ratings: Annotated[
        bool, typer.Option("--all-ratings", help="Every rating is an interaction.")
    ] = False,
    user_core: Annotated[int, typer.Option(help="Items that every user must have.")] = 5,
    item_core: Annotated[int, typer.Option(help="Users that every item must have.")] = 5,
    drop_unknown: Annotated[
        bool, typer.Option("--drop-unknown", help="Leave out items without a row in --items.")
    ] = False,
    split: Annotated[str, typer.Option(help="random, time or leave-one-out.")] = "random",
    ratios: Annotated[str, typer.Option(help="Training, validation, test.")] = "3:1:1",
    seed: Annotated[int, typer.Option(help="Decides what is random.")] = 2023,
    max_bad: Annotated[
        str, typer.Option(help="Bad rows allowed in a file: a number, or a share.")
    ] = "1%",
    name: Annotated[str | None, typer.Option(help="The data set's name. [OUT's]")] = None,
    overwrite: _Overwrite = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Make a data set from raw tables: filter, k-core, split; tell what each step removed.

    Tables are CSV, TSV, JSON lines (all may be gzipped) or Parquet; the columns used are shown.
    Interactions may also be RLMRec's matrices (.pkl, read without unpickling, or .npz), whose
    numbers a table's column `number` turns into ids. Rows that are no rows are counted and named by
    line; beyond --max-bad nothing is made. The report is kept as OUT/prepare.json.

    Exit codes: 0 done, 2 something to mend in files or options; nothing half written either way.

    Example: `rlmrec-fast data prepare --interactions ratings.csv --items movies.csv data/movies`

    Example: `rlmrec-fast data prepare --interactions u.data --no-header --columns user=1
    --columns item=2 --columns rating=3 --columns time=4 --split time data/ml-100k`

    Example: `rlmrec-fast data prepare --interactions reviews.jsonl.gz --items meta.jsonl.gz
    --item-columns description=description+categories --user-core 10 --item-core 10 data/books`
    """
    from rlmrec_fast.data import prepare_commands

    request = prepare_commands.PrepareRequest(
        out=out,
        interactions=interactions,
        items=items or (),
        users=users or (),
        item_vectors=item_vectors,
        user_vectors=user_vectors,
        columns=columns or (),
        item_columns=item_columns or (),
        user_columns=user_columns or (),
        header=not no_header,
        separator=separator,
        min_rating=None if all_ratings else min_rating,
        cores=(user_core, item_core),
        drop_unknown=drop_unknown,
        split=(split, ratios, seed),
        max_bad=max_bad,
        name=name,
        overwrite=overwrite,
    )
    prepare_commands.prepare(request, as_json)


@app.command()
@user_errors()
def download(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="amazon, yelp or steam.", show_default=False)
    ],
    out: Annotated[
        Path | None,
        typer.Argument(metavar="OUT", help="The data set folder to write. [data/NAME]"),
    ] = None,
    archive: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The archive, where it is or is to go. [in the cache folder]"
        ),
    ] = None,
    url: Annotated[str | None, typer.Option(help="Another address. [RLMRec's own]")] = None,
    sha256: Annotated[str | None, typer.Option(help="Refuse an archive of another hash.")] = None,
    overwrite: _Overwrite = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Download a data set that RLMRec published, and import it.

    All are in one archive, which is downloaded once: https://archive.org/download/rlmrec_data/data.zip
    A broken download goes on where it stopped when the command is given again. Size and hash are
    recorded in OUT/download.json. Proxies are those of the environment (https_proxy, no_proxy).

    Exit codes: 0 done, 2 something to mend, 3 no network (what has arrived is kept).

    Example: `rlmrec-fast data download amazon`

    Example: `rlmrec-fast data download yelp data/yelp --archive data.zip --json`
    """
    from rlmrec_fast.data import download_commands

    out = out or Path("data") / name
    download_commands.download(name, out, archive, url, sha256, overwrite, as_json)


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
