"""The commands `recommend`, `similar` and `export` of `rlmrec-fast`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rlmrec_fast.errors import user_errors

RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a trained run.")]
DataOption = Annotated[
    Path | None,
    typer.Option("--data", help="Data set: this package's folder, or RLMRec's own files."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on one line.")]
NewItemsOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Items that are not in the data set, known by their texts."),
]
NewColumnsOption = Annotated[
    list[str] | None,
    typer.Option(metavar="ROLE=COLUMN", help="id, title, profile, description. [guessed]"),
]
NewVectorsOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help=".npy, a row for each new item. [texts encoded as the data set's]"
    ),
]
PlaceOption = Annotated[
    str | None,
    typer.Option(help="How texts get a place: projector (contrastive runs) or neighbors."),
]
PlaceUnseenOption = Annotated[
    bool,
    typer.Option("--place-unseen", help="Place items without training interactions, too."),
]


@user_errors()
def recommend(
    run: RunArgument,
    user: Annotated[
        list[str] | None,
        typer.Option(help="Original id, or number where there are none; may be repeated."),
    ] = None,
    users_from: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Ids: a .txt, one a line, or a table's column user."),
    ] = None,
    everyone: Annotated[bool, typer.Option("--all", help="For all users.")] = False,
    k: Annotated[int, typer.Option("-k", help="How many items.")] = 20,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a .jsonl or .parquet. [print]")
    ] = None,
    exclude: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Items that nobody gets: a .txt, one id a line, or a table's column item;"
            " with a column user, what that user does not get. May be repeated.",
        ),
    ] = None,
    with_seen: Annotated[
        bool, typer.Option("--with-seen", help="Do not leave out training interactions.")
    ] = False,
    without_held_out: Annotated[
        bool, typer.Option("--without-held-out", help="Leave out validation and test, too.")
    ] = False,
    new_items: NewItemsOption = None,
    new_columns: NewColumnsOption = None,
    new_vectors: NewVectorsOption = None,
    place: PlaceOption = None,
    place_unseen: PlaceUnseenOption = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print or write the best items for users, those of the training set left out.

    Each user's line of JSON holds the user and the items with id, title and score; `item` is the
    item's number, or null. A Parquet file has a row for every user and item.

    New items, which plain collaborative filtering cannot recommend, are placed by their texts.

    Example: `rlmrec-fast recommend runs/amazon-lightgcn-2023 --user A2X4ZJJDUT4H7V`

    Example: `rlmrec-fast recommend runs/synthetic-lightgcn-2023 --user u7 -k 5 --json`

    Example: `rlmrec-fast recommend runs/mine --all --exclude sold-out.txt --out top20.parquet`

    Example: `rlmrec-fast recommend runs/mine --all --new-items new.csv --out top20.jsonl`
    """
    from rlmrec_fast.serving import commands
    from rlmrec_fast.serving.cold import NewItems

    request = commands.RecommendRequest(
        run=run,
        data=data,
        users=commands.Wanted(user or (), users_from, everyone),
        k=k,
        out=out,
        exclude=exclude or (),
        new=NewItems(new_items, new_columns or (), new_vectors, place, place_unseen),
        with_seen=with_seen,
        without_held_out=without_held_out,
        as_json=as_json,
    )
    commands.recommend(request)


@user_errors()
def similar(
    run: RunArgument,
    item: Annotated[
        list[str] | None,
        typer.Option(help="Original id, or number where there are none; may be repeated."),
    ] = None,
    items_from: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Ids: a .txt, one a line, or a table's column item."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="For all items.")] = False,
    k: Annotated[int, typer.Option("-k", help="How many items.")] = 10,
    space: Annotated[str, typer.Option(help="embedding, or text: of --data's vectors.")] = (
        "embedding"
    ),
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a .jsonl or .parquet. [print]")
    ] = None,
    new_items: NewItemsOption = None,
    new_columns: NewColumnsOption = None,
    new_vectors: NewVectorsOption = None,
    place: PlaceOption = None,
    place_unseen: PlaceUnseenOption = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print or write the items most similar to items: more like this.

    Similarity is the cosine of final embeddings (who likes both?) or of texts (what are they?).

    Example: `rlmrec-fast similar runs/amazon-lightgcn-2023 --item 0373730489`

    Example: `rlmrec-fast similar runs/mine --all -k 50 --space text --out alike.jsonl`

    Example: `rlmrec-fast similar runs/mine --new-items new.csv --item NEW_ID`
    """
    from rlmrec_fast.serving import commands
    from rlmrec_fast.serving.cold import NewItems

    items = commands.Wanted(item or (), items_from, everything)
    new = NewItems(new_items, new_columns or (), new_vectors, place, place_unseen)
    commands.more_like(commands.SimilarRequest(run, data, items, k, space, new, out, as_json))


@user_errors()
def export(
    run: RunArgument,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to write.")],
    ids: Annotated[str, typer.Option(help="Form of the lists of ids: json or parquet.")] = "json",
    new_items: NewItemsOption = None,
    new_columns: NewColumnsOption = None,
    new_vectors: NewVectorsOption = None,
    place: PlaceOption = None,
    place_unseen: PlaceUnseenOption = False,
    data: DataOption = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an export.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write a run's final tables and ids for programs that know nothing of this package.

    OUT holds embeddings.safetensors, users.json, items.json and export.json; a score is the dot
    product of two rows. examples/serve_hnswlib.py serves them from an index in ten lines.

    Example: `rlmrec-fast export runs/amazon-lightgcn-2023 exported`

    Example: `rlmrec-fast export runs/mine exported --ids parquet --overwrite --json`
    """
    from rlmrec_fast.serving import commands
    from rlmrec_fast.serving.cold import NewItems

    new = NewItems(new_items, new_columns or (), new_vectors, place, place_unseen)
    commands.export(commands.ExportRequest(run, out, data, ids, new, overwrite, as_json))
