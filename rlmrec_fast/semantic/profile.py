"""A language model writes profiles: of items, then of users from the items that they chose.

Source: RLMRec (arXiv 2310.15950), section 3.3: item profiles from what is known about an item, user
profiles from the profiles of items that a user interacted with, both as JSON with a reasoning.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Any

import polars as pl

from rlmrec_fast.data.dataset import MANIFEST, Dataset
from rlmrec_fast.data.folder import check_place
from rlmrec_fast.data.tables import make_table
from rlmrec_fast.errors import IncompleteError
from rlmrec_fast.semantic.answers import ProfileAnswer, parse_answer
from rlmrec_fast.semantic.endpoint import Endpoint, RefusedError
from rlmrec_fast.semantic.journal import Journal
from rlmrec_fast.semantic.limits import Budget, BudgetError
from rlmrec_fast.semantic.parallel import in_parallel
from rlmrec_fast.semantic.profile_plan import TYPICAL_ANSWER, TYPICAL_PROFILE, Question
from rlmrec_fast.semantic.profile_request import ProfileReport, ProfileRequest, SideCount
from rlmrec_fast.semantic.progress import progress
from rlmrec_fast.semantic.texts import SIDES

TRIES = 3
"""How often a question is put before its answers count as malformed."""


class Profiler:
    """One run of `profile`.

    Args:
        request: What to do.

    Raises:
        FileNotFoundError: There is no such data set.
        ValueError: An argument is wrong.
    """

    def __init__(self, request: ProfileRequest) -> None:
        self.request = request
        self.dataset = Dataset.load(request.data)
        rows = {"items": self.dataset.num_items, "users": self.dataset.num_users}
        self.profiles = {side: self._profiles(side, rows[side]) for side in SIDES}
        self.report = ProfileReport(
            str(request.place),
            str(request.store_path),
            request.asker.model,
            {side: SideCount(rows=rows[side]) for side in request.sides},
        )
        self._answers: dict[str, str] = {}
        self._lock = Lock()

    def _profiles(self, side: str, rows: int) -> list[str | None]:
        table = getattr(self.dataset, side)
        texts = [None] * rows if table is None else table["profile"].to_list()
        return [text if text is not None and text.strip() else None for text in texts]

    def estimate(self) -> ProfileReport:
        """What a run would ask for, without asking: requests, tokens, the first questions."""
        if self.request.store_path.exists():
            with Journal(self.request.store_path) as journal:
                self._remember(journal)
        self.report.requests = self.report.tokens = 0
        for side in self.request.sides:
            count = self.report.sides[side]
            for question in list(self._questions(side)):
                self.report.example.setdefault(side, question.messages)
                count.left += 1
                self.report.requests += 1
                self.report.tokens += question.tokens + TYPICAL_ANSWER
                self.profiles[side][question.row] = "x" * TYPICAL_PROFILE
        return self.report

    def run(self) -> ProfileReport:
        """Asks for what is missing and writes the data set.

        Raises:
            IncompleteError: The budget is exhausted or answers failed; the others are kept.
            UnreachableError: The server cannot be reached; likewise.
            ValueError: The server refuses key or model.
            FileExistsError: There is another data set at the place.
        """
        start = time.monotonic()
        request = self.request
        out = request.place
        if request.endpoint is None:
            raise ValueError("profile: a run needs an endpoint (got none)")
        if out != request.data.resolve() and not self._finished(out):
            check_place(out, request.overwrite)
        with Journal(request.store_path) as journal:
            self._remember(journal)
            budget = Budget(
                request.budget_requests,
                request.budget_tokens,
                self.report.requests,
                self.report.tokens,
            )
            endpoint = Endpoint(request.endpoint, budget)
            try:
                for side in request.sides:
                    self._ask_all(side, endpoint, journal)
            except BudgetError as error:
                raise BudgetError(
                    f"profile: {error}; answers are kept in {self.report.store}; run the same"
                    " command with a larger --budget-requests or --budget-tokens to go on"
                ) from None
            finally:
                self._settle(journal, budget)
                self.report.seconds = time.monotonic() - start
        self._write(out)
        return self.report

    def _remember(self, journal: Journal) -> None:
        for record in journal.records:
            self.report.requests += record.get("requests", 0)
            self.report.tokens += record.get("tokens", 0)
            if "profile" in record:
                self._answers[record["key"]] = record["profile"]

    def _keep(self, journal: Journal, record: Mapping[str, Any]) -> None:
        journal.append(record)
        with self._lock:
            self.report.requests += record["requests"]
            self.report.tokens += record["tokens"]

    def _settle(self, journal: Journal, budget: Budget) -> None:
        """Keeps what was spent on requests that came to nothing."""
        with self._lock:
            rest = {
                "requests": budget.requests - self.report.requests,
                "tokens": budget.tokens - self.report.tokens,
            }
        if any(rest.values()):
            self._keep(journal, rest)

    def _questions(self, side: str) -> Iterator[Question]:
        """The questions of a side that have no answer yet; answers that are there are taken."""
        request, count = self.request, self.report.sides[side]
        profiles = self.profiles[side]
        for row in range(min(count.rows, request.limit or count.rows)):
            if profiles[row] is not None and not request.replace_profiles:
                count.had += 1
                continue
            if side == "items":
                question = request.asker.item(self.dataset, row)
            else:
                question = request.asker.user(self.dataset, row, self.profiles["items"])
            if question is None:
                count.unknown += 1
            elif question.key in self._answers:
                count.kept += 1
                profiles[row] = self._answers[question.key]
            else:
                yield question

    def _ask_all(self, side: str, endpoint: Endpoint, journal: Journal) -> None:
        count, profiles = self.report.sides[side], self.profiles[side]
        questions = list(self._questions(side))
        count.left = len(questions)
        done = len(profiles) - len(questions)

        def work(question: Question) -> str | ValueError:
            return self._ask(question, endpoint, journal)

        with progress(f"profiles of {side}", len(profiles), done) as advance:
            for question, outcome in in_parallel(work, questions, self.request.concurrency):
                advance(1)
                count.left -= 1
                if isinstance(outcome, ValueError):
                    count.failed[question.row] = str(outcome)
                else:
                    count.asked += 1
                    profiles[question.row] = outcome
        if count.failed and side == "items" and "users" in self.request.sides:
            raise self._incomplete("--side users goes on without them")

    def _ask(self, question: Question, endpoint: Endpoint, journal: Journal) -> str | ValueError:
        """Gets one answer and keeps it; what it has cost is kept, too, where there is none."""
        most = 2 * question.tokens + self.request.asker.answer_tokens
        messages, reason = question.messages, ""
        for _ in range(TRIES):
            try:
                reply = endpoint.chat(messages, self.request.asker.parameters, most)
            except RefusedError as error:
                cost = {"requests": 1, "tokens": 0}
                self._keep(journal, {**_place(question), "failed": str(error), **cost})
                return error
            try:
                answer = parse_answer(reply.text)
            except ValueError as error:
                reason = f"malformed answer: {error}"
                self._keep(journal, {**_place(question), "failed": reason, **reply.cost})
                messages = [*question.messages, *_repair(reply.text, reason)]
                continue
            self._keep(journal, self._record(question, answer, reply.cost))
            return answer.profile
        return ValueError(reason)

    def _record(
        self, question: Question, answer: ProfileAnswer, cost: Mapping[str, int]
    ) -> dict[str, Any]:
        table = getattr(self.dataset, question.side)
        known = str(question.row) if table is None else table["id"][question.row]
        facts = {"id": known, "model": self.request.asker.model, "key": question.key}
        return {**_place(question), **facts, **answer.model_dump(), **cost}

    def _incomplete(self, cure: str) -> IncompleteError:
        """What is missing, in words."""
        parts = []
        for side, count in self.report.sides.items():
            if count.failed:
                row, reason = next(iter(count.failed.items()))
                parts.append(
                    f"{len(count.failed):,} {side} have no valid answer, first {row} ({reason})"
                )
        return IncompleteError(
            f"profile: {'; '.join(parts)}; answers are kept in {self.report.store}; run the same"
            f" command again to ask once more; {cure}"
        )

    def _table(self, side: str) -> pl.DataFrame:
        table, profiles = getattr(self.dataset, side), self.profiles[side]
        if table is None:
            return make_table([str(row) for row in range(len(profiles))], profiles=profiles)
        changed: pl.DataFrame = table.with_columns(pl.Series("profile", profiles, dtype=pl.String))
        return changed

    def _finished(self, out: Path) -> bool:
        """Whether an earlier run of this very command has written the data set."""
        if not (out / MANIFEST).is_file() or not self.request.store_path.is_file():
            return False
        probe = Profiler(replace(self.request, endpoint=None))
        return not probe.estimate().requests and probe.is_written(Dataset.load(out))

    def is_written(self, found: Dataset) -> bool:
        """Whether a data set has the profiles already."""
        for side in self.request.sides:
            table = getattr(found, side)
            if table is None or table["profile"].to_list() != self.profiles[side]:
                return False
        return True

    def _write(self, out: Path) -> None:
        if any(count.failed for count in self.report.sides.values()) and (
            not self.request.allow_missing
        ):
            raise self._incomplete("--allow-missing writes the data set without them")
        if out == self.request.data.resolve() and self.is_written(self.dataset):
            return
        if out != self.request.data.resolve() and self._finished(out):
            return
        tables = {side: self._table(side) for side in self.request.sides}
        changed: Dataset = replace(self.dataset, **tables)  # type: ignore[arg-type]
        changed.save(out, overwrite=out.exists())
        self.report.written = True


def _place(question: Question) -> dict[str, Any]:
    return {"side": question.side, "row": question.row}


def _repair(text: str, reason: str) -> list[dict[str, str]]:
    """Shows a model its answer and what is wrong with it."""
    return [
        {"role": "assistant", "content": text[:2000]},
        {
            "role": "user",
            "content": f"That is no valid answer ({reason}). Answer with one JSON"
            ' object {"profile": "...", "reasoning": "..."} and nothing else.',
        },
    ]
