"""Vectors from a server that speaks OpenAI's protocol: `openai:MODEL`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rlmrec_fast.data.vectors import Vectors
from rlmrec_fast.semantic.encoders import SERVER, unit_rows
from rlmrec_fast.semantic.endpoint import Endpoint, EndpointOptions
from rlmrec_fast.semantic.limits import Budget, BudgetError


@dataclass(frozen=True)
class ServerOptions:
    """How a server is asked for vectors; see `EndpointOptions` and `Budget`.

    Attributes:
        base_url: Its address; OpenAI's if None and the environment says nothing.
        requests_per_minute: Most requests in any minute.
        tokens_per_minute: Most tokens in any minute.
        budget_requests: Most requests of one run.
        budget_tokens: Most tokens of one run.
        retries: Further attempts after the server was busy, broken or silent.
        timeout: Seconds after which it is silent.
        concurrency: Requests under way at once.
    """

    base_url: str | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    budget_requests: int | None = None
    budget_tokens: int | None = None
    retries: int = 6
    timeout: float = 60.0
    concurrency: int = 4

    def __post_init__(self) -> None:
        if self.concurrency < 1:
            raise ValueError(f"--concurrency must be at least 1 (got {self.concurrency})")


class ServerEncoder:
    """A model behind a server.

    Args:
        model: Its name there.
        options: How to ask.

    Raises:
        ValueError: An option is wrong, or there is no key for OpenAI.
        MissingExtraError: The package openai is not installed.
    """

    def __init__(self, model: str, options: ServerOptions) -> None:
        self._endpoint = Endpoint(
            EndpointOptions.of(
                model,
                options.base_url,
                requests_per_minute=options.requests_per_minute,
                tokens_per_minute=options.tokens_per_minute,
                retries=options.retries,
                timeout=options.timeout,
            ),
            Budget(options.budget_requests, options.budget_tokens),
        )
        self.name = f"{SERVER}:{model}"
        self.version = f"{model} at {self._endpoint.options.address}"
        self.workers = options.concurrency

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Encodes some texts with one request.

        Raises:
            BudgetError: It could exceed the budget.
            UnreachableError: The server cannot be reached, or stays busy, broken or silent.
            ValueError: The server refuses.
        """
        # A token has two bytes at least, in all but the oddest texts.
        most = sum(len(text.encode()) // 2 + 2 for text in texts)
        try:
            return unit_rows(self._endpoint.embed(texts, most))
        except BudgetError as error:
            raise BudgetError(
                f"encode: {error}; what is encoded is kept; run the same command with a larger"
                " --budget-requests or --budget-tokens to go on"
            ) from None
