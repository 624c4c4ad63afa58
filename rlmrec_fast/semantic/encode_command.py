"""The command `encode`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlmrec_fast.errors import resumable, user_errors

if TYPE_CHECKING:
    from rlmrec_fast.semantic.encode import EncodeReport

DataArgument = Annotated[
    Path,
    typer.Argument(metavar="DATA", help="A data set folder, ours or RLMRec's.", show_default=False),
]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", metavar="FOLDER", help="Data set folder to write. [DATA itself]"),
]


@user_errors()
def encode(
    data: DataArgument,
    encoder: Annotated[
        str,
        typer.Option(
            help="lsa; sentence-transformers:MODEL, a model's name or folder; or openai:MODEL."
        ),
    ] = "lsa",
    out: OutOption = None,
    users_from_items: Annotated[
        bool,
        typer.Option(
            "--users-from-items", help="Users without text get the mean of their items' vectors."
        ),
    ] = False,
    allow_zero_vectors: Annotated[
        bool, typer.Option("--allow-zero-vectors", help="Accept vectors that are zero.")
    ] = False,
    dim: Annotated[int, typer.Option(help="Size of the vectors of lsa.")] = 256,
    seed: Annotated[int, typer.Option(help="Seed of lsa.")] = 2023,
    max_tokens: Annotated[
        int | None,
        typer.Option(help="Where sentence-transformers cuts a text. [the model's own limit]"),
    ] = None,
    batch_size: Annotated[
        int, typer.Option(help="Texts that sentence-transformers takes through a model together.")
    ] = 32,
    dtype: Annotated[str, typer.Option(help="float32 or float16, as stored.")] = "float32",
    device: Annotated[str, typer.Option(help="Where sentence-transformers computes.")] = "cpu",
    base_url: Annotated[
        str | None,
        typer.Option(help="The server of openai. [$OPENAI_BASE_URL, else OpenAI's own]"),
    ] = None,
    concurrency: Annotated[int, typer.Option(help="Requests to it under way at once.")] = 4,
    requests_per_minute: Annotated[int | None, typer.Option(help="Most in any minute.")] = None,
    tokens_per_minute: Annotated[int | None, typer.Option(help="Most in any minute.")] = None,
    budget_requests: Annotated[int | None, typer.Option(help="Budget of one run.")] = None,
    budget_tokens: Annotated[int | None, typer.Option(help="Budget likewise.")] = None,
    retries: Annotated[
        int, typer.Option(help="Further attempts after it was busy, broken or silent.")
    ] = 6,
    timeout: Annotated[float, typer.Option(help="Seconds after which it is silent.")] = 60.0,
    threads: Annotated[int | None, typer.Option(help="Threads. [torch's choice]")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace vectors, or a data set, that are there.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on one line.")] = False,
) -> None:
    """Turn the texts of a data set into the vectors that an alignment learns from.

    The text of an item or user is its profile, or its title and description for want of one.
    `lsa` (TF-IDF and truncated SVD) is built in and needs no download;
    `sentence-transformers:MODEL` needs `pip install 'rlmrec-fast[text]'`, and `openai:MODEL`, any
    server that speaks OpenAI's protocol, with its key in $OPENAI_API_KEY, `pip install
    'rlmrec-fast[llm]'`. Run the same command again after Ctrl-C or a crash: it goes on where it
    was, and does nothing once it is finished.

    Exit codes: 0 done, 2 a wrong request, 3 the server cannot be reached, 4 the budget is
    exhausted.

    Example: `rlmrec-fast encode data/books`

    Example: `rlmrec-fast encode data/games --users-from-items --dim 384`

    Example: `rlmrec-fast encode RLMRec/data/amazon --out data/amazon-minilm --encoder
    sentence-transformers:sentence-transformers/all-MiniLM-L6-v2 --dtype float16`

    Example: `rlmrec-fast encode data/books --encoder openai:text-embedding-3-small`
    """
    from rlmrec_fast.semantic.encode import EncodeRequest
    from rlmrec_fast.semantic.encode import encode as run
    from rlmrec_fast.semantic.encoders import EncoderOptions
    from rlmrec_fast.semantic.server_encoder import ServerOptions

    if threads is not None:
        _set_threads(threads)
    server = ServerOptions(
        base_url,
        requests_per_minute,
        tokens_per_minute,
        budget_requests,
        budget_tokens,
        retries,
        timeout,
        concurrency,
    )
    options = EncoderOptions(dim, seed, max_tokens, batch_size, device, server)
    request = EncodeRequest(
        data, encoder, out, options, dtype, users_from_items, allow_zero_vectors, overwrite
    )
    with resumable():
        report = run(request)
    typer.echo(json.dumps(report.facts()) if as_json else _words(report))


def _set_threads(threads: int) -> None:
    if threads < 1:
        raise ValueError(f"--threads must be at least 1 (got {threads})")
    import torch

    torch.set_num_threads(threads)


def _words(report: EncodeReport) -> str:
    lines = [f"{report.out}: {report.encoding['encoder']}, {report.dim} dimensions"]
    for side in ("items", "users"):
        own = getattr(report, side)
        counts = {
            "encoded now": own.encoded,
            "by title and description": own.described,
            "the mean of their items": own.from_items,
            "zero": own.zero,
        }
        facts = [f"{own.rows:,} {side}", f"{own.texts:,} with text"]
        facts += [f"{count:,} {words}" for words, count in counts.items() if count]
        lines.append(", ".join(facts))
    if not (report.items.encoded or report.users.encoded):
        lines.append("every text was encoded before")
    return "\n".join(lines)
