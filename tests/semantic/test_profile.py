from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from chat_server import ChatServer, Reply, answered, failed, good, profile_for
from small_texts import texted
from typer.testing import CliRunner

from rlmrec_fast.cli import app
from rlmrec_fast.data import Dataset
from rlmrec_fast.data.tables import make_table
from rlmrec_fast.semantic import endpoint

pytest.importorskip("openai")

SECRET = "sk-very-secret-0123456789"
ITEMS, USERS = 12, 15


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(endpoint, "FIRST_WAIT", 0.01)
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.setenv("RLMREC_FAST_MODEL", "m")
    monkeypatch.chdir(tmp_path)


def plain(users: int = USERS, items: int = ITEMS) -> Dataset:
    """Interactions, titles and some descriptions, but no profiles."""
    dataset = texted(users, items)
    titles = dataset.items["title"].to_list()
    descriptions = ["about tea", " "] * (items // 2)
    table = make_table(dataset.items["id"].to_list(), titles, descriptions=descriptions)
    return replace(dataset, items=table, users=make_table(dataset.users["id"].to_list()))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "toy"
    plain().save(path)
    return path


def call(*words: object):
    return CliRunner().invoke(app, ["profile", *(str(word) for word in words)])


def run(server: ChatServer, *words: object, code: int = 0) -> dict:
    """Runs the command against a server; returns its JSON."""
    words = ("--base-url", server.url, "--retries", 3, "--timeout", 0.5, "--json", *words)
    result = call(*words)
    assert result.exit_code == code, result.output
    return json.loads(result.stdout) if result.stdout else {"error": result.stderr}


def stored(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_items_are_profiled_first_and_users_from_them(data) -> None:
    with ChatServer() as server:
        report = run(server, data, "--domain", "books", "--concurrency", 3)
    assert server.most <= 3
    assert report["requests"] == len(server.questions) == ITEMS + USERS
    assert report["tokens"] == 30 * (ITEMS + USERS)
    after = Dataset.load(data)
    items, users = server.questions[:ITEMS], server.questions[ITEMS:]
    assert sorted(after.items["profile"]) == sorted(map(profile_for, items))
    assert sorted(after.users["profile"]) == sorted(map(profile_for, users))
    for row in range(ITEMS):
        (question,) = [q for q in items if profile_for(q) == after.items["profile"][row]]
        facts = json.loads(question.split("JSON:\n")[1])
        assert facts["title"] == after.items["title"][row]
        assert facts.get("description") == ("about tea" if row % 2 == 0 else None)
    for row in range(USERS):
        (question,) = [q for q in users if profile_for(q) == after.users["profile"][row]]
        told = json.loads(question.split("JSON:\n")[-1])
        chosen = after.train[[row]].indices.tolist()
        notes = [after.items["profile"][item] for item in chosen]
        assert [item["note"] for item in told] == notes[: len(told)]
        assert len(told) == min(len(chosen), 10)
        assert f"{len(told)} books" in question
    kept = stored(Path("toy.profiles.jsonl"))
    assert len(kept) == ITEMS + USERS
    assert {record["model"] for record in kept} == {"m"}
    assert kept[0]["reasoning"].startswith("it is ")


def test_a_second_run_asks_nothing_and_writes_nothing(data) -> None:
    with ChatServer() as server:
        run(server, data)
        before = (data / "dataset.json").stat()  # files are written aside: a new one is another
        server.questions.clear()
        assert run(server, data)["written"] is False
        assert run(server, data, "--replace-profiles")["written"] is False
        assert server.questions == []
        after = (data / "dataset.json").stat()
        assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
        text = call(data, "--base-url", server.url).stdout
    assert "nothing to do" in text
    assert f"{ITEMS} items, {ITEMS} had a profile" in text


def test_another_place_is_written_once_and_left_alone_then(data) -> None:
    before = sorted(os.listdir(data))
    with ChatServer() as server:
        assert run(server, data, "--out", "out")["written"]
        assert not run(server, data, "--out", "out")["written"]
        assert len(server.questions) == ITEMS + USERS
        plain(USERS, ITEMS + 2).save("other")
        words = (data, "--out", "other", "--store", "out.profiles.jsonl")
        assert "must not exist" in run(server, *words, code=2)["error"]
        assert run(server, *words, "--overwrite")["written"]
        assert len(server.questions) == ITEMS + USERS, "answers are taken from the store"
    assert sorted(os.listdir(data)) == before
    assert Dataset.load("out").items.equals(Dataset.load("other").items)


def test_a_bad_server_costs_requests_but_no_answer(data) -> None:
    rng = random.Random(11)
    troubles = [
        failed(429, Retry_After="0.02"),
        failed(500),
        Reply(delay=0.8),
        answered("I would rather not."),
        answered('{"profile": ""}'),
        Reply("{", headers={"Content-Type": "application/json"}),
        Reply("<html>", 502, {"Content-Type": "text/html"}),
    ]

    def behave(question: str, number: int) -> Reply:
        return rng.choice(troubles) if rng.random() < 0.25 else good(question, number)

    with ChatServer(behave) as server:
        report = run(server, data, "--retries", 10)
    assert report["sides"]["items"]["asked"] == ITEMS
    assert report["sides"]["users"]["asked"] == USERS
    # A busy machine may give a request up before the server has read it.
    assert report["requests"] >= len(server.questions) > ITEMS + USERS
    answers = Counter(record["key"] for record in stored(Path(report["store"])) if "key" in record)
    assert set(answers.values()) == {1}
    assert sum(record["requests"] for record in stored(Path(report["store"]))) == report["requests"]
    assert Dataset.load(data).users["profile"].null_count() == 0


def test_answers_that_stay_malformed_are_listed_and_asked_for_again(data) -> None:
    title = Dataset.load(data).items["title"][4]

    def behave(question: str, number: int) -> Reply:
        return answered("no {json}") if f'"{title}"' in question else good(question, number)

    with ChatServer(behave) as server:
        report = run(server, data, code=4)
        assert list(report["sides"]["items"]["failed"]) == ["4"]
        assert "malformed answer: no JSON object" in report["sides"]["items"]["failed"]["4"]
        assert len(server.questions) == ITEMS - 1 + 3, "users wait for all items"
        shown = [body["messages"] for body in server.bodies if len(body["messages"]) == 4]
        assert shown[0][2] == {"role": "assistant", "content": "no {json}"}
        error = call(data, "--base-url", server.url).stderr.splitlines()[-1]
        assert "1 items have no valid answer, first 4 (malformed" in error
        assert "run the same command again" in error
        assert Dataset.load(data).items["profile"].null_count() == ITEMS, "nothing is written yet"
        words = (data, "--side", "items", "--allow-missing")
        run(server, *words)
        assert Dataset.load(data).items["profile"].null_count() == 1
        server.behave = good
        server.questions.clear()
        run(server, data)
        assert len(server.questions) == 1 + USERS
    assert Dataset.load(data).items["profile"].null_count() == 0


def test_a_refused_request_is_not_repeated(data) -> None:
    title = Dataset.load(data).items["title"][0]

    def behave(question: str, number: int) -> Reply:
        return failed(400, "filtered") if f'"{title}"' in question else good(question, number)

    with ChatServer(behave) as server:
        report = run(server, data, "--side", "items", "--concurrency", 1, code=4)
        assert "filtered" in report["sides"]["items"]["failed"]["0"]
        assert len(server.questions) == ITEMS


@pytest.mark.parametrize("words", [("--budget-requests", 5), ("--budget-tokens", 950)])
def test_an_exhausted_budget_ends_with_code_4_and_is_gone_on_from(data, words) -> None:
    with ChatServer(lambda q, n: replace(good(q, n), delay=0.01)) as server:
        report = run(server, data, *words, code=4)
        asked = len(server.questions)
        assert 1 <= asked < ITEMS
        assert report["requests"] == asked
        assert report["sides"]["items"]["asked"] == asked
        assert report["sides"]["items"]["left"] == ITEMS - asked
        error = call(data, "--base-url", server.url, *words).stderr
        assert "is exhausted" in error
        assert "larger --budget-requests or --budget-tokens to go on" in error
        assert len(server.questions) == asked, "the budget holds over all runs"
        run(server, data)
        assert len(server.questions) == ITEMS + USERS


def test_a_dead_server_ends_with_code_3_and_what_was_got_is_kept(data) -> None:
    with ChatServer(lambda q, n: good(q, n) if n < 6 else failed(503)) as server:
        words = (data, "--concurrency", 1, "--retries", 1, "--base-url", server.url)
        result = call(*words)
        assert result.exit_code == 3, result.output
        assert "run the same command again to go on" in result.stderr
        assert sum(r["requests"] for r in stored(Path("toy.profiles.jsonl"))) == 8
        server.behave = good
        run(server, data)
        assert len(server.questions) == 2 + ITEMS + USERS


def test_a_dry_run_tells_and_asks_nothing(data) -> None:
    program = (
        "import sys; sys.modules['openai'] = None\n"
        "from rlmrec_fast.cli import app\n"
        "app(['profile', *sys.argv[1:]])"
    )
    words = [str(data), "--dry-run", "--json", "--model", "m"]
    result = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    facts = json.loads(result.stdout)
    assert facts["requests"] == ITEMS + USERS
    assert facts["tokens"] > 150 * (ITEMS + USERS)
    assert Dataset.load(data).items["title"][0] in facts["example"]["items"][1]["content"]
    assert sorted(os.listdir()) == ["toy"]
    result = subprocess.run(
        [sys.executable, "-c", program, str(data)], capture_output=True, text=True
    )
    assert result.returncode == 2
    assert "pip install 'rlmrec-fast[llm]'" in result.stderr


def test_a_dry_run_counts_what_is_left(data) -> None:
    with ChatServer() as server:
        run(server, data, "--budget-requests", 5, "--concurrency", 1, code=4)
        assert run(server, data, "--dry-run")["requests"] == ITEMS + USERS - 5
        text = call(data, "--dry-run").stdout
        assert "5 kept from before" in text
        assert "[system]" in text
        run(server, data)
        assert run(server, data, "--dry-run")["requests"] == 0


def test_other_templates_model_or_parameters_ask_anew(data) -> None:
    assert call("--write-templates", "prompts", "--domain", "games").exit_code == 0
    edited = Path("prompts/item.txt").read_text().replace("players", "kings")
    with ChatServer() as server:
        words = (data, "--side", "items", "--limit", 2)
        run(server, *words, "--out", "a")
        assert len(server.questions) == 2
        store = ("--store", "a.profiles.jsonl", "--overwrite", "--out", "a")
        Path("prompts/item.txt").write_text(edited)
        run(server, *words, *store, "--templates", "prompts")
        assert len(server.questions) == 4
        assert "kings" in server.bodies[-1]["messages"][0]["content"]
        run(server, *words, *store, "--model", "better")
        run(server, *words, *store, "--parameter", "temperature=null", "--parameter", "top_k=[1]")
        assert len(server.questions) == 8
        assert server.bodies[-1]["top_k"] == [1]
        assert "temperature" not in server.bodies[-1]
        run(server, *words, *store)
        assert len(server.questions) == 8
    assert Dataset.load("a").items["profile"].null_count() == ITEMS - 2


def test_what_is_known_is_told_and_the_rest_left_out(tmp_path) -> None:
    dataset = plain()
    ids = dataset.items["id"].to_list()
    nothing = make_table(
        ids, ["Tea", " "] + [None] * (ITEMS - 2), profiles=[None, "old"] + [None] * (ITEMS - 2)
    )
    replace(dataset, items=nothing, users=None).save("bare")
    with ChatServer() as server:
        report = run(server, "bare")
    items, users = report["sides"]["items"], report["sides"]["users"]
    assert (items["had"], items["asked"], items["unknown"]) == (1, 1, ITEMS - 2)
    rich = (dataset.train[:, [0, 1]].sum(axis=1) > 0).sum()
    assert (users["asked"], users["unknown"]) == (rich, USERS - rich)
    assert any('"note": "old"' in question for question in server.questions)
    after = Dataset.load("bare")
    assert after.items["profile"].null_count() == ITEMS - 2
    assert after.users["id"].to_list() == [str(row) for row in range(USERS)]


def test_the_key_reaches_the_server_and_nothing_else(data, monkeypatch, caplog) -> None:
    monkeypatch.setenv("OPENAI_LOG", "debug")
    caplog.set_level("DEBUG")
    echo = answered(json.dumps({"profile": f"your key is {SECRET}", "reasoning": SECRET}))
    outputs = []
    with ChatServer() as server:
        for reply in (failed(401, SECRET), failed(500, SECRET), failed(400, SECRET), echo):
            server.behave = lambda *_, reply=reply: reply
            outputs.append(call(data, "--base-url", server.url, "--retries", 1).output)
            outputs.append(call(data, "--base-url", server.url, "--dry-run").output)
    assert set(server.keys) == {f"Bearer {SECRET}"}
    assert "***" in "".join(outputs)
    files = [path.read_bytes() for path in Path.cwd().rglob("*") if path.is_file()]
    assert any(b"your key is ***" in content for content in files)
    for text in [*outputs, caplog.text, *(content.decode("latin1") for content in files)]:
        assert SECRET not in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "DATA must name"),
        (("toy", "--model", " "), "--model (or RLMREC_FAST_MODEL) must name a model"),
        (("toy", "--side", "all"), "--side must be one of both, items, users (got 'all')"),
        (("toy", "--concurrency", 0), "--concurrency must be at least 1 (got 0)"),
        (("toy", "--sample", 0), "--sample must be at least 1 (got 0)"),
        (("toy", "--domain", "cars"), "--domain must be one of books"),
        (("toy", "--parameter", "x"), "--parameter must be NAME=VALUE (got 'x')"),
        (("toy", "--requests-per-minute", 0), "requests per minute must be at least 1"),
        (("toy", "--budget-tokens", -1), "max_tokens must be at least 0"),
        (("toy", "--templates", "nowhere"), "nowhere/item.txt"),
        (("toy",), "OPENAI_API_KEY must hold the key of https://api.openai.com"),
    ],
)
def test_a_wrong_request_is_refused_in_one_line(data, monkeypatch, words, message) -> None:
    if words == ("toy",):
        monkeypatch.delenv("OPENAI_API_KEY")
    result = call(*words)
    assert result.exit_code == 2, result.output
    assert message in result.stderr.splitlines()[-1]
    assert Dataset.load("toy").items["profile"].null_count() == ITEMS


def test_kill_9_at_random_moments_asks_nothing_twice(data) -> None:
    rng = random.Random(7)
    with ChatServer(lambda q, n: replace(good(q, n), delay=0.05)) as server:
        words = [sys.executable, "-m", "rlmrec_fast.cli", "profile", str(data)]
        words += ["--base-url", server.url, "--concurrency", "2"]
        for _ in range(2):
            before = len(server.questions)
            process = subprocess.Popen(words, stderr=subprocess.DEVNULL)
            while process.poll() is None and len(server.questions) == before:
                time.sleep(0.005)
            time.sleep(rng.uniform(0, 0.3))
            process.send_signal(signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL
        result = subprocess.run(words, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
    # Only what was under way may be asked again.
    assert len(server.questions) <= ITEMS + USERS + 2 * 2
    answers = Counter(record["key"] for record in stored(Path("toy.profiles.jsonl")))
    assert len(answers) == ITEMS + USERS
    after = Dataset.load(data)
    assert sorted(after.items["profile"]) == sorted(
        {profile_for(q) for q in server.questions if "$" not in q} & set(after.items["profile"])
    )
    assert after.users["profile"].null_count() == 0
    with ChatServer() as quiet:
        plain().save("again")
        run(quiet, "again")
    assert Dataset.load("again").items.equals(after.items)
    assert Dataset.load("again").users.equals(after.users)
