from __future__ import annotations

import random
import threading

import pytest

from rlmrec_fast.semantic.limits import MINUTE, Budget, BudgetError, RateLimiter


class Clock:
    """Time that passes only by waiting."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds


@pytest.mark.parametrize(("requests", "tokens"), [(7, None), (None, 500), (7, 500), (1, 50)])
def test_no_minute_sees_more_than_allowed(requests: int | None, tokens: int | None) -> None:
    clock, rng = Clock(), random.Random(3)
    limiter = RateLimiter(requests, tokens, clock, clock.wait)
    started: list[tuple[float, int]] = []
    for _ in range(200):
        size = rng.randrange(1, 50)
        started.append((limiter.acquire(size).start, size))
        clock.now += rng.random()
    for start, _ in started:
        window = [size for time, size in started if start <= time < start + MINUTE]
        assert requests is None or len(window) <= requests
        assert tokens is None or sum(window) <= tokens
    # And no slower than needed: some minute is as full as it may be.
    fullest = max(
        sum(1 for time, _ in started if start <= time < start + MINUTE) for start, _ in started
    )
    assert tokens is not None or fullest == requests


def test_known_tokens_replace_the_estimate() -> None:
    clock = Clock()
    limiter = RateLimiter(tokens=100, clock=clock, wait=clock.wait)
    limiter.acquire(100).tokens = 10
    limiter.acquire(90)
    assert clock.now == 1000
    limiter.acquire(1)
    assert clock.now == 1060


def test_a_request_larger_than_a_minute_has_one_for_itself() -> None:
    clock = Clock()
    limiter = RateLimiter(tokens=100, clock=clock, wait=clock.wait)
    limiter.acquire(1)
    limiter.acquire(1000)
    assert clock.now == 1060
    limiter.acquire(1)
    assert clock.now == 1120


def test_a_pause_holds_for_everybody_and_is_never_shortened() -> None:
    clock = Clock()
    limiter = RateLimiter(clock=clock, wait=clock.wait)
    limiter.pause(20)
    limiter.pause(5)
    limiter.acquire(1)
    assert clock.now == 1020


def test_a_budget_is_never_exceeded_whatever_the_order() -> None:
    budget = Budget(max_requests=50, max_tokens=1000)
    refused = []

    def spend() -> None:
        for _ in range(20):
            try:
                budget.reserve(30)
            except BudgetError:
                refused.append(1)
                continue
            assert budget.tokens <= 1000
            budget.settle(30, 25)

    threads = [threading.Thread(target=spend) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert budget.requests <= 50
    assert budget.tokens == 25 * budget.requests <= 1000
    # Full but for the last one that could have taken more than is left.
    assert budget.tokens + 30 > 1000
    assert refused


def test_a_request_waits_for_what_others_may_leave() -> None:
    budget = Budget(max_tokens=100)
    budget.reserve(90)
    waiting = threading.Thread(target=budget.reserve, args=(60,))
    waiting.start()
    waiting.join(0.05)
    assert waiting.is_alive()
    budget.settle(90, 40)
    waiting.join(10)
    assert not waiting.is_alive()
    budget.settle(60, 60)
    with pytest.raises(BudgetError, match="100 are spent and the next request can take 1"):
        budget.reserve(1)


@pytest.mark.parametrize(("requests", "tokens"), [(0, None), (None, 9)])
def test_a_budget_refuses_by_name(requests: int | None, tokens: int | None) -> None:
    with pytest.raises(BudgetError, match=r"the budget of \d (requests|tokens) is exhausted"):
        Budget(requests, tokens).reserve(10)
    with pytest.raises(ValueError, match="must be at least 0"):
        Budget(-1)
    with pytest.raises(ValueError, match="requests per minute must be at least 1"):
        RateLimiter(0)
