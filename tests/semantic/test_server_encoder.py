from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from chat_server import ChatServer, Reply, failed
from small_texts import texted
from typer.testing import CliRunner

from rlmrec_fast.cli import app
from rlmrec_fast.data import Dataset
from rlmrec_fast.semantic import encode, endpoint
from rlmrec_fast.semantic.encoders import unit_rows

pytest.importorskip("openai")

SECRET = "sk-very-secret-0123456789"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(endpoint, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(encode, "BLOCK", 7)
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.chdir(tmp_path)
    texted().save("toy")


def vector(text: str) -> list[float]:
    return [byte / 64 - 2 for byte in hashlib.sha256(text.encode()).digest()[:5]]


def embedded(question: str, number: int) -> Reply:
    """What a good server answers, in an order of its own."""
    rows = [{"index": n, "embedding": vector(t)} for n, t in enumerate(json.loads(question))]
    return Reply({"data": rows[::-1], "usage": {"total_tokens": 10}})


def call(server: ChatServer, *words: object):
    told = ["encode", "toy", "--encoder", "openai:m", "--base-url", server.url]
    return CliRunner().invoke(app, [str(word) for word in [*told, "--retries", 2, *words]])


def expected(side: str) -> np.ndarray:
    return unit_rows([vector(text) for text in getattr(Dataset.load("toy"), side)["profile"]])


def test_vectors_of_a_server_are_asked_for_once(monkeypatch) -> None:
    with ChatServer(lambda q, n: replace(embedded(q, n), delay=0.02)) as server:
        result = call(server, "--json", "--concurrency", 2)
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)["encoding"]["version"] == f"m at {server.url}"
        assert server.most == 2
        texts = [text for question in server.questions for text in json.loads(question)]
        assert len(texts) == len(set(texts)) == 50
        assert call(server).exit_code == 0
        assert len(server.questions) == 3 + 5
    dataset = Dataset.load("toy")
    np.testing.assert_array_equal(dataset.item_vectors, expected("items"))
    np.testing.assert_array_equal(dataset.user_vectors, expected("users"))


def test_a_failing_server_costs_nothing_that_was_got() -> None:
    with ChatServer(lambda q, n: embedded(q, n) if n < 4 else failed(500, SECRET)) as server:
        result = call(server, "--concurrency", 1)
        assert result.exit_code == 3, result.output
        assert "must answer within 3 attempts" in result.stderr
        server.behave = embedded
        before = len(server.questions)
        assert call(server).exit_code == 0
        assert len(server.questions) == before + 8 - 4
    files = [path.read_bytes() for path in Path.cwd().rglob("*") if path.is_file()]
    assert SECRET not in result.output
    assert not any(SECRET.encode() in content for content in files)
    np.testing.assert_array_equal(Dataset.load("toy").user_vectors, expected("users"))


def test_the_budget_ends_a_run_with_code_4() -> None:
    with ChatServer(embedded) as server:
        result = call(server, "--budget-requests", 3)
        assert result.exit_code == 4, result.output
        assert "encode: the budget of 3 requests is exhausted; what is encoded" in result.stderr
        assert len(server.questions) == 3
        assert call(server).exit_code == 0
        assert len(server.questions) == 8


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--concurrency", 0), "--concurrency must be at least 1 (got 0)"),
        (("--timeout", 0), "--timeout must be a positive number"),
        (("--requests-per-minute", 0), "requests per minute must be at least 1"),
    ],
)
def test_a_wrong_request_is_refused_in_one_line(words, message) -> None:
    with ChatServer(embedded) as server:
        result = call(server, *words)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_vectors_that_are_none_are_refused() -> None:
    broken = Reply({"data": [{"index": n, "embedding": [None, 1]} for n in range(7)]})
    with ChatServer(lambda *_: broken) as server:
        result = call(server)
    assert result.exit_code in (2, 3)
    assert result.stderr.startswith("error: ")
    assert Dataset.load("toy").item_vectors is None
