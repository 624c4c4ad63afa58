"""An OpenAI-compatible server: asked within its limits and our budget, again where that helps."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from hashlib import sha256
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

from rlmrec_fast.data.vectors import Vectors
from rlmrec_fast.errors import UnreachableError, extra
from rlmrec_fast.semantic.limits import Budget, BudgetError, RateLimiter

KEY, BASE_URL, MODEL = "OPENAI_API_KEY", "OPENAI_BASE_URL", "RLMREC_FAST_MODEL"
"""Environment variables; the key has no other way in."""

OPENAI = "https://api.openai.com/v1"
FIRST_WAIT = 1.0
"""Seconds before the second attempt; doubled before each further one."""
LONGEST_WAIT = 60.0
LONGEST_RETRY_AFTER = 3600.0

Reply = TypeVar("Reply")
Message = Mapping[str, str]


class RefusedError(ValueError):
    """The server refuses this very request; another one may be answered."""


@dataclass(frozen=True)
class EndpointOptions:
    """How a server is asked.

    Attributes:
        model: The model's name there.
        base_url: Its address; OpenAI's if None.
        requests_per_minute: Most requests in any minute; None for no limit.
        tokens_per_minute: Most tokens in any minute; None for no limit.
        retries: How often a request is repeated after the server was busy, broken or silent.
        timeout: Seconds after which it counts as silent.
    """

    model: str
    base_url: str | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    retries: int = 6
    timeout: float = 60.0

    def __post_init__(self) -> None:
        if not self.model.strip():
            raise ValueError(f"--model (or {MODEL}) must name a model of the server (got nothing)")
        if self.retries < 0:
            raise ValueError(f"--retries must be at least 0 (got {self.retries})")
        if not 0 < self.timeout < math.inf:
            raise ValueError(f"--timeout must be a positive number of seconds (got {self.timeout})")
        if self.base_url is not None and urlsplit(self.base_url).scheme not in ("http", "https"):
            raise ValueError(
                f"--base-url (or {BASE_URL}) must start with http:// or https:// (got"
                f" {_without_password(self.base_url)!r})"
            )

    @classmethod
    def of(cls, model: str | None, base_url: str | None, **others: Any) -> EndpointOptions:
        """Takes from the environment what is None."""
        model = model or os.environ.get(MODEL, "")
        return cls(model, base_url or os.environ.get(BASE_URL) or None, **others)

    @property
    def address(self) -> str:
        """The server's address, to be shown."""
        return _without_password(self.base_url or OPENAI)


@dataclass(frozen=True)
class Answer:
    """What a server said.

    Attributes:
        text: The answer, perhaps empty.
        requests: The requests that it took.
        tokens: The tokens of the last one.
    """

    text: str
    requests: int
    tokens: int

    @property
    def cost(self) -> dict[str, int]:
        """Requests and tokens, to be kept."""
        return {"requests": self.requests, "tokens": self.tokens}


class Endpoint:
    """Asks a server; from any thread.

    The key is read from the environment. It is sent to the server and nowhere else: should a
    server repeat it, it is struck out of answers and messages.

    Args:
        options: How to ask.
        budget: What may be spent.

    Raises:
        ValueError: OpenAI's own server needs a key and there is none.
        MissingExtraError: The package openai is not installed.
    """

    def __init__(self, options: EndpointOptions, budget: Budget) -> None:
        with extra("llm"):
            import openai
        key = os.environ.get(KEY, "").strip()
        if not key and options.base_url is None:
            raise ValueError(
                f"{KEY} must hold the key of {OPENAI} (got nothing); another server is named with"
                f" --base-url or {BASE_URL}"
            )
        self.options, self.budget = options, budget
        self._openai, self._key = openai, key
        self._limiter = RateLimiter(options.requests_per_minute, options.tokens_per_minute)
        self._client = openai.OpenAI(
            # A server without keys is not told one, but the client insists.
            api_key=key or "none",
            base_url=options.base_url or OPENAI,
            timeout=options.timeout,
            max_retries=0,
        )
        self._answered, self._refused = False, 0

    def chat(self, messages: Sequence[Message], parameters: Mapping[str, Any], most: int) -> Answer:
        """Asks for an answer to some messages.

        Args:
            messages: Each with `role` and `content`.
            parameters: What else the request says, such as `temperature`.
            most: The most tokens that question and answer can take.

        Returns:
            The answer.

        Raises:
            RefusedError: The server refuses this request.
            BudgetError: It could exceed the budget.
            UnreachableError: The server cannot be reached, or stays busy, broken or silent.
            ValueError: The server refuses the key, the model or the first request.
        """

        def call() -> tuple[str, int]:
            reply = self._client.chat.completions.create(
                model=self.options.model,
                messages=cast("Any", messages),
                extra_body=dict(parameters),
            )
            return self.scrub(_content(reply)), _used(reply, most)

        return Answer(*self._ask(call, most))

    def embed(self, texts: Sequence[str], most: int) -> Vectors:
        """Asks for the vectors of some texts.

        Args:
            texts: The texts.
            most: The most tokens that they can take.

        Returns:
            float32 `[len(texts), t]`.

        Raises:
            As `chat`.
        """
        import numpy as np

        def call() -> tuple[Vectors, int]:
            reply = self._client.embeddings.create(
                model=self.options.model, input=list(texts), encoding_format="float"
            )
            rows = sorted(reply.data, key=lambda row: row.index)
            vectors = np.array([row.embedding for row in rows], np.float32)
            if vectors.ndim != 2 or len(vectors) != len(texts):
                raise ValueError(f"{len(texts)} vectors asked for, {vectors.shape} given")
            return vectors, _used(reply, most)

        return self._ask(call, most)[0]

    def scrub(self, text: str) -> str:
        """The text without the key."""
        return text.replace(self._key, "***") if self._key else text

    def _ask(self, call: Callable[[], tuple[Reply, int]], most: int) -> tuple[Reply, int, int]:
        """Calls until there is an answer, it makes no sense to go on, or patience ends."""
        reason = ""
        for attempt in range(self.options.retries + 1):
            self.budget.reserve(most)
            used = 0
            try:
                request = self._limiter.acquire(most)
                try:
                    reply, used = call()
                finally:
                    request.tokens = used
            except self._openai.OpenAIError as error:
                reason = self._reason(error)
                self._require_hope(error, attempt)
                self._wait(error, attempt)
            except _MALFORMED as error:
                used, reason = most, f"malformed answer: {self._reason(error)}"
                self._wait(error, attempt)
            else:
                self._answered = True
                return reply, attempt + 1, used
            finally:
                self.budget.settle(most, used)
        raise UnreachableError(
            f"{self.options.address} must answer within {self.options.retries + 1} attempts (got"
            f" {reason}); run the same command again to go on"
        )

    def _require_hope(self, error: Any, attempt: int) -> None:
        """Raises where another attempt makes no sense."""
        status, reason = getattr(error, "status_code", None), self._reason(error)
        address = self.options.address
        if getattr(error, "code", None) == "insufficient_quota":
            raise BudgetError(f"the account at {address} is exhausted (got {reason})") from None
        if status in _REFUSALS:
            self._refused += 1
            if self._answered or self._refused < _MOST_REFUSALS:
                raise RefusedError(reason) from None
        if status is not None and status not in _PASSING and status < 500:
            raise ValueError(
                f"{address} must answer for {self.options.model} (got {reason});"
                f" {_CURES.get(status, _CURES[400])}"
            ) from None
        silent = isinstance(error, self._openai.APITimeoutError)
        if status is None and not silent and not self._answered and attempt:
            raise UnreachableError(
                f"{address} must be reachable (got {reason}); check the network and --base-url"
            ) from None

    def _wait(self, error: Any, attempt: int) -> None:
        """Waits as long as the server asks, or else longer from attempt to attempt."""
        if attempt == self.options.retries:
            return
        headers = getattr(getattr(error, "response", None), "headers", {})
        delay = retry_after(headers, time.time())
        if delay is None:
            # Workers that failed together do not come back together.
            spread = sha256(f"{time.time_ns()}".encode()).digest()[0] / 255
            delay = min(LONGEST_WAIT, FIRST_WAIT * 2**attempt) * (0.5 + 0.5 * spread)
        elif delay > LONGEST_RETRY_AFTER:
            raise UnreachableError(
                f"{self.options.address} wants to be left alone for {delay:.0f} seconds (got"
                f" {self._reason(error)}); run the same command again then"
            ) from None
        if getattr(error, "status_code", None) in (429, 503):
            self._limiter.pause(delay)
        else:
            time.sleep(delay)

    def _reason(self, error: Any) -> str:
        status = getattr(error, "status_code", None)
        text = " ".join(self.scrub(str(error)).split())[:300]
        return text if status is None or str(status) in text else f"{status} {text}"


# What client and numpy make of answers that are not what was asked for.
_MALFORMED = (AttributeError, LookupError, RecursionError, TypeError, ValueError)
_REFUSALS = (400, 413, 422)
_MOST_REFUSALS = 5
"""So many refusals, with no answer before them, are not about single requests."""
_PASSING = (408, 409, 425, 429)
_CURES = {
    400: "--parameter NAME=VALUE changes what a request says, NAME=null leaves it out",
    401: f"{KEY} must hold a key that it accepts",
    403: f"{KEY} must hold a key that may do this",
    404: "--model and --base-url must name what it has (most addresses end with /v1)",
}


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """The seconds that a server asks to wait, None where it does not.

    Args:
        headers: Of its answer.
        now: Seconds since 1970.
    """
    milliseconds, text = headers.get("retry-after-ms"), headers.get("retry-after")
    try:
        if milliseconds is not None:
            seconds = float(milliseconds) / 1000
        elif text is None:
            return None
        else:
            seconds = float(text)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(str(text)).timestamp() - now
        except (TypeError, ValueError, OverflowError):
            return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def _content(reply: Any) -> str:
    """The text of an answer; the empty text where its form is another one."""
    try:
        text = reply.choices[0].message.content
    except (AttributeError, IndexError, KeyError, TypeError):
        return ""
    return text if isinstance(text, str) else ""


def _used(reply: Any, most: int) -> int:
    """The tokens that the server says it took; all that could be, where it does not say."""
    total = getattr(getattr(reply, "usage", None), "total_tokens", None)
    return total if isinstance(total, int) and total >= 0 else most


def _without_password(url: str) -> str:
    before, at, after = url.rpartition("@")
    scheme, slashes, _ = before.partition("//")
    return f"{scheme}{slashes}{after}" if at else url
