"""How often a server may be asked, and how often at most."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Condition, Lock

from rlmrec_fast.errors import IncompleteError

MINUTE = 60.0


class BudgetError(IncompleteError):
    """The next request could exceed the budget."""


@dataclass
class Request:
    """A request under way: when it began and what it takes."""

    start: float
    tokens: int


class RateLimiter:
    """Holds requests back so that no minute sees more of them, or of tokens, than allowed.

    A request that alone takes more tokens than a minute may see has a minute for itself.

    Args:
        requests: Most requests in any 60 seconds; None for no limit.
        tokens: Most tokens in any 60 seconds; None for no limit.
        clock: The time in seconds.
        wait: Waits some seconds.

    Raises:
        ValueError: A limit is below 1.
    """

    def __init__(
        self,
        requests: int | None = None,
        tokens: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        for name, limit in (("requests", requests), ("tokens", tokens)):
            if limit is not None and limit < 1:
                raise ValueError(f"{name} per minute must be at least 1 (got {limit})")
        self._requests, self._tokens = requests, tokens
        self._clock, self._wait = clock, wait
        self._lock = Lock()
        self._recent: deque[Request] = deque()
        self._paused_until = float("-inf")

    def acquire(self, tokens: int) -> Request:
        """Waits until a request may start.

        Args:
            tokens: What it will take, as far as that is known.

        Returns:
            The request; its `tokens` may be corrected once they are known.
        """
        while True:
            with self._lock:
                now = self._clock()
                delay = self._delay(now, tokens)
                if delay <= 0:
                    request = Request(now, tokens)
                    self._recent.append(request)
                    return request
            self._wait(delay)

    def pause(self, seconds: float) -> None:
        """Lets no request start for some time, as a server has asked."""
        with self._lock:
            self._paused_until = max(self._paused_until, self._clock() + seconds)

    def _delay(self, now: float, tokens: int) -> float:
        while self._recent and self._recent[0].start <= now - MINUTE:
            self._recent.popleft()
        until = self._paused_until
        count, total = len(self._recent), sum(request.tokens for request in self._recent)
        for request in self._recent:
            full = self._requests is not None and count >= self._requests
            if not full and (self._tokens is None or total + tokens <= self._tokens):
                break
            until = max(until, request.start + MINUTE)
            count, total = count - 1, total - request.tokens
        return until - now


@dataclass
class Budget:
    """Counts requests and tokens and refuses to exceed what may be spent.

    Attributes:
        max_requests: Most requests, repeated ones included; None for no limit.
        max_tokens: Most tokens, of questions and answers; None for no limit.
        requests: Requests so far.
        tokens: Tokens so far.

    Raises:
        ValueError: A limit is negative.
    """

    max_requests: int | None = None
    max_tokens: int | None = None
    requests: int = 0
    tokens: int = 0
    _reserved: int = 0
    _changed: Condition = field(default_factory=Condition, repr=False)

    def __post_init__(self) -> None:
        for name in ("max_requests", "max_tokens"):
            limit = getattr(self, name)
            if limit is not None and limit < 0:
                raise ValueError(f"{name} must be at least 0 (got {limit})")

    def reserve(self, tokens: int) -> None:
        """Counts a request and sets aside the most tokens that it can take.

        Waits for requests under way where they may leave enough.

        Raises:
            BudgetError: That would exceed the budget.
        """
        with self._changed:
            while self._exceeded_by(tokens):
                if self.max_requests is not None and self.requests >= self.max_requests:
                    raise BudgetError(f"the budget of {self.max_requests:,} requests is exhausted")
                if not self._reserved:
                    raise BudgetError(
                        f"the budget of {self.max_tokens:,} tokens is exhausted: {self.tokens:,}"
                        f" are spent and the next request can take {tokens:,}"
                    )
                self._changed.wait()
            self.requests += 1
            self._reserved += tokens

    def _exceeded_by(self, tokens: int) -> bool:
        if self.max_requests is not None and self.requests >= self.max_requests:
            return True
        total = self.tokens + self._reserved + tokens
        return self.max_tokens is not None and total > self.max_tokens

    def settle(self, reserved: int, tokens: int) -> None:
        """Counts what a request has taken in place of what was set aside for it."""
        with self._changed:
            self._reserved -= reserved
            self.tokens += tokens
            self._changed.notify_all()
