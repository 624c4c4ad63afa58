from __future__ import annotations

import socket
from email.utils import formatdate

import numpy as np
import pytest
from chat_server import ChatServer, Reply, answered, failed, good

from rlmrec_fast.errors import UnreachableError
from rlmrec_fast.semantic import endpoint as module
from rlmrec_fast.semantic.endpoint import Endpoint, EndpointOptions, RefusedError, retry_after
from rlmrec_fast.semantic.limits import Budget, BudgetError

pytest.importorskip("openai")

SECRET = "sk-very-secret-0123456789"
ASKED = [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_WAIT", 0.01)
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)


def endpoint(server: ChatServer, budget: Budget | None = None, **options) -> Endpoint:
    options = {"retries": 3, "timeout": 0.3, **options}
    return Endpoint(EndpointOptions("m", server.url, **options), budget or Budget())


def ask(server: ChatServer, budget: Budget | None = None, **options):
    return endpoint(server, budget, **options).chat(ASKED, {"temperature": 0}, 100)


def test_an_answer_comes_with_its_cost() -> None:
    budget = Budget()
    with ChatServer(lambda *_: answered("hello", tokens=42)) as server:
        answer = ask(server, budget)
    assert (answer.text, answer.cost) == ("hello", {"requests": 1, "tokens": 42})
    assert (budget.requests, budget.tokens) == (1, 42)
    assert server.bodies == [{"model": "m", "messages": ASKED, "temperature": 0}]
    assert server.keys == [f"Bearer {SECRET}"]


TROUBLES = {
    "busy": failed(429),
    "broken": failed(500),
    "gateway": Reply("<html>bad gateway</html>", 502, {"Content-Type": "text/html"}),
    "silent": Reply(delay=1.0),
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_trouble_that_passes_is_overcome(trouble: str) -> None:
    budget = Budget()
    with ChatServer(lambda q, n: TROUBLES[trouble] if n < 3 else good(q, n)) as server:
        answer = ask(server, budget)
    assert answer.requests == budget.requests == len(server.questions) == 4
    assert budget.tokens == answer.tokens == 30


@pytest.mark.parametrize("trouble", TROUBLES)
def test_trouble_that_stays_ends_after_so_many_attempts(trouble: str) -> None:
    with ChatServer(lambda *_: TROUBLES[trouble]) as server:
        with pytest.raises(UnreachableError, match="must answer within 3 attempts"):
            ask(server, retries=2)
        assert len(server.questions) == 3


@pytest.mark.parametrize(
    "body",
    ["", "null", "[]", "{", '"text"', {"choices": []}, {"choices": 5}, {"choices": [{}]},
     {"choices": [{"message": {"content": None}}]}, {"choices": [{"message": {"content": [1]}}]},
     {"choices": [{"message": "x"}], "usage": "many"}],
)  # fmt: skip
def test_an_answer_without_text_is_the_empty_text_or_trouble(body) -> None:
    with ChatServer(lambda *_: Reply(body)) as server:
        try:
            answer = ask(server, retries=1)
        except UnreachableError:
            assert len(server.questions) == 2
        else:
            assert answer.text == ""
            assert answer.tokens == 100, "where nothing is said, all that could be is counted"


def test_the_server_says_how_long_to_wait() -> None:
    def behave(question: str, number: int) -> Reply:
        return failed(429, Retry_After="0.5") if number == 0 else good(question, number)

    with ChatServer(behave) as server:
        ask(server)
        first, second = server.times
    assert second - first >= 0.5


def test_a_wait_of_hours_is_not_waited_for() -> None:
    with ChatServer(lambda *_: failed(429, Retry_After="7200")) as server:
        with pytest.raises(UnreachableError, match="left alone for 7200 seconds"):
            ask(server)
        assert len(server.questions) == 1


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7),
        ({"retry-after": "0.25"}, 0.25),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": formatdate(1_000_030, usegmt=True)}, 30),
        ({"retry-after": formatdate(999_000, usegmt=True)}, 0),
        ({"retry-after": "-5"}, 0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
    ],
)
def test_retry_after_in_all_its_forms(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, now=1_000_000) == seconds


@pytest.mark.parametrize(
    ("status", "cure"),
    [(401, "OPENAI_API_KEY must hold a key"), (403, "a key that may"), (404, "end with /v1")],
)
def test_a_refusal_that_stays_is_the_users_error(status: int, cure: str) -> None:
    with ChatServer(lambda *_: failed(status, f"wrong {SECRET}!")) as server:
        with pytest.raises(ValueError, match=cure) as caught:
            ask(server)
        assert len(server.questions) == 1
    assert not isinstance(caught.value, RefusedError)
    assert SECRET not in str(caught.value)
    assert "wrong ***!" in str(caught.value)


def test_a_single_request_may_be_refused_but_not_every_one() -> None:
    with ChatServer(lambda *_: failed(400, "too long")) as server:
        asker = endpoint(server)
        for _ in range(4):
            with pytest.raises(RefusedError, match="too long"):
                asker.chat(ASKED, {}, 100)
        with pytest.raises(ValueError, match="--parameter NAME=VALUE changes") as caught:
            asker.chat(ASKED, {}, 100)
        assert not isinstance(caught.value, RefusedError)
        assert len(server.questions) == 5


def test_an_exhausted_account_is_an_exhausted_budget() -> None:
    body = {"error": {"message": "pay", "code": "insufficient_quota"}}
    with ChatServer(lambda *_: Reply(body, 429)) as server:
        with pytest.raises(BudgetError, match="is exhausted"):
            ask(server)
        assert len(server.questions) == 1


def test_the_budget_counts_repeated_requests() -> None:
    with ChatServer(lambda *_: failed(500)) as server:
        with pytest.raises(BudgetError, match="budget of 2 requests"):
            ask(server, Budget(max_requests=2))
        assert len(server.questions) == 2


def test_a_server_that_is_not_there_is_told_at_once() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://user:{SECRET}@127.0.0.1:{free.getsockname()[1]}/v1"
        with pytest.raises(UnreachableError, match="check the network and --base-url") as caught:
            Endpoint(EndpointOptions("m", url), Budget()).chat(ASKED, {}, 9)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


def test_vectors_come_in_the_order_of_their_texts() -> None:
    data = [{"index": 1, "embedding": [3, 4]}, {"index": 0, "embedding": [1, 2]}]
    with ChatServer(lambda *_: Reply({"data": data, "usage": {"total_tokens": 5}})) as server:
        found = endpoint(server).embed(["a", "b"], 100)
        np.testing.assert_array_equal(found, np.array([[1, 2], [3, 4]], np.float32))
        assert server.bodies[0]["input"] == ["a", "b"]
        with pytest.raises(UnreachableError, match=r"3 vectors asked for, \(2, 2\) given"):
            endpoint(server, retries=1).embed(["a", "b", "c"], 100)


@pytest.mark.parametrize("data", [None, 5, [], [{"index": 0}], [{"index": 0, "embedding": ["x"]}]])
def test_malformed_vectors_are_asked_for_again(data) -> None:
    vector = {"data": [{"index": 0, "embedding": [1.5]}]}
    with ChatServer(lambda _, n: Reply({"data": data} if n == 0 else vector)) as server:
        assert endpoint(server).embed(["a"], 100).tolist() == [[1.5]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": " "}, "--model"),
        ({"retries": -1}, "--retries must be at least 0"),
        ({"timeout": 0}, "--timeout must be a positive"),
        ({"base_url": f"ftp://x:{SECRET}@y"}, "--base-url .* must start with http"),
    ],
)
def test_options_are_checked(changes, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        EndpointOptions(**{"model": "m", **changes})
    assert SECRET not in str(caught.value)


def test_openai_itself_needs_a_key_and_others_do_not(monkeypatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(ValueError, match="OPENAI_API_KEY must hold the key of https"):
        Endpoint(EndpointOptions.of("m", None), Budget())
    with ChatServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("RLMREC_FAST_MODEL", "theirs")
        Endpoint(EndpointOptions.of(None, None), Budget()).chat(ASKED, {}, 9)
        assert server.bodies[0]["model"] == "theirs"
