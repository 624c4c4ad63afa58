"""The command `profile`."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlmrec_fast.errors import IncompleteError, resumable, user_errors

if TYPE_CHECKING:
    from rlmrec_fast.semantic.profile_request import ProfileReport, ProfileRequest


@user_errors()
def profile(
    data: Annotated[
        Path | None,
        typer.Argument(metavar="DATA", help="A data set folder, ours or RLMRec's."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Data set folder to write. [DATA itself]"),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="The model's name. [$RLMREC_FAST_MODEL]")
    ] = None,
    base_url: Annotated[
        str | None,
        typer.Option(help="The server's address. [$OPENAI_BASE_URL, else OpenAI's own]"),
    ] = None,
    domain: Annotated[
        str, typer.Option(help="Whose templates: books, games, places or general.")
    ] = "general",
    templates: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Own templates instead: item.txt and user.txt."),
    ] = None,
    write_templates: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write the domain's templates there, and end."),
    ] = None,
    side: Annotated[str, typer.Option(help="both, items or users.")] = "both",
    limit: Annotated[int | None, typer.Option(help="Only so many of each side. [all]")] = None,
    sample: Annotated[int, typer.Option(help="Most items of a user that are told.")] = 10,
    seed: Annotated[int, typer.Option(help="Chooses these items.")] = 2023,
    parameter: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="Say something else in requests; null leaves NAME out; may be repeated."
            ' [temperature=0, max_tokens=512, response_format={"type":"json_object"}]',
        ),
    ] = None,
    concurrency: Annotated[int, typer.Option(help="Requests under way at once.")] = 8,
    requests_per_minute: Annotated[int | None, typer.Option(help="Most in any minute.")] = None,
    tokens_per_minute: Annotated[int | None, typer.Option(help="Most in any minute.")] = None,
    budget_requests: Annotated[
        int | None, typer.Option(help="Budget over all runs with one store. [no limit]")
    ] = None,
    budget_tokens: Annotated[int | None, typer.Option(help="Budget likewise. [no limit]")] = None,
    retries: Annotated[
        int, typer.Option(help="Further attempts after the server was busy, broken or silent.")
    ] = 6,
    timeout: Annotated[float, typer.Option(help="Seconds after which it is silent.")] = 60.0,
    store: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Keeps the answers. [FOLDER.profiles.jsonl]"),
    ] = None,
    replace_profiles: Annotated[
        bool, typer.Option("--replace-profiles", help="Write profiles that are there anew.")
    ] = False,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Write FOLDER without profiles that failed.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace another data set at FOLDER.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell what would be asked, and ask nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on one line.")] = False,
) -> None:
    """Have a language model write profiles of items, then of users from the items they chose.

    Any server that speaks OpenAI's protocol will do; its key is read from $OPENAI_API_KEY and
    never written anywhere. Items are described by their titles and descriptions. Every answer is
    kept in the store as it comes: run the same command again after Ctrl-C, a crash or an exhausted
    budget, and nothing is asked twice. Needs `pip install 'rlmrec-fast[llm]'`.

    Exit codes: 0 done, 2 a wrong request, 3 the server cannot be reached, 4 the budget is exhausted
    or some answers were no profiles.

    Example: `rlmrec-fast profile data/games --domain games --dry-run`

    Example: `rlmrec-fast profile data/games --domain games --model NAME --budget-tokens 3000000`

    Example: `rlmrec-fast profile data/games --base-url http://localhost:8000/v1 --model llama`

    Example: `rlmrec-fast profile --write-templates prompts --domain books`
    """
    from rlmrec_fast.semantic.endpoint import MODEL, EndpointOptions
    from rlmrec_fast.semantic.profile_plan import Asker, parse_parameters
    from rlmrec_fast.semantic.profile_request import ProfileRequest
    from rlmrec_fast.semantic.templates import read_prompts
    from rlmrec_fast.semantic.templates import write_templates as write

    if write_templates is not None:
        for path in write(domain, write_templates):
            typer.echo(path)
        return
    if data is None:
        raise ValueError("profile: DATA must name a data set's folder (got nothing)")
    if dry_run and not model and not os.environ.get(MODEL):
        model = "a model"
    endpoint = EndpointOptions.of(
        model,
        base_url,
        requests_per_minute=requests_per_minute,
        tokens_per_minute=tokens_per_minute,
        retries=retries,
        timeout=timeout,
    )
    prompts = read_prompts(templates if templates is not None else domain)
    request = ProfileRequest(
        data=data,
        asker=Asker(endpoint.model, parse_parameters(parameter or []), prompts, sample, seed),
        endpoint=endpoint,
        out=out,
        store=store,
        side=side,
        limit=limit,
        concurrency=concurrency,
        budget_requests=budget_requests,
        budget_tokens=budget_tokens,
        replace_profiles=replace_profiles,
        allow_missing=allow_missing,
        overwrite=overwrite,
    )
    with resumable():
        _run(request, dry_run, as_json)


def _run(request: ProfileRequest, dry_run: bool, as_json: bool) -> None:
    from rlmrec_fast.semantic.profile import Profiler

    estimate = Profiler(replace(request, endpoint=None)).estimate()
    if dry_run:
        typer.echo(json.dumps(estimate.facts()) if as_json else _plan(estimate))
        return
    address = request.endpoint.address if request.endpoint else ""
    typer.echo(f"{_todo(estimate)}, at {address}", err=True)
    profiler = Profiler(request)
    try:
        profiler.run()
    except IncompleteError:
        if as_json:
            typer.echo(json.dumps(profiler.report.facts()))
        raise
    typer.echo(json.dumps(profiler.report.facts()) if as_json else _words(profiler.report))


def _todo(estimate: ProfileReport) -> str:
    return (
        f"{estimate.requests:,} requests to {estimate.model}, about {estimate.tokens:,} tokens"
        f"; answers are kept in {estimate.store}"
    )


def _plan(estimate: ProfileReport) -> str:
    lines = [_todo(estimate), *_sides(estimate)]
    for side, messages in estimate.example.items():
        lines.append(f"\nthe first question about {side}:")
        lines += [f"[{message['role']}]\n{message['content']}" for message in messages]
    return "\n".join(lines)


def _words(report: ProfileReport) -> str:
    spent = f"{report.requests:,} requests and {report.tokens:,} tokens over all runs"
    state = "written" if report.written else "nothing to do"
    return "\n".join([f"{report.out}: {state}; {spent}", *_sides(report)])


def _sides(report: ProfileReport) -> list[str]:
    lines = []
    for side, count in report.sides.items():
        counts = {
            "had a profile": count.had,
            "kept from before": count.kept,
            "asked now": count.asked,
            "to be asked": count.left,
            "failed": len(count.failed),
            "of whom nothing is known": count.unknown,
        }
        facts = [f"{number:,} {words}" for words, number in counts.items() if number]
        lines.append(", ".join([f"{count.rows:,} {side}", *facts]))
    return lines
