from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_texts import same_vectors, texted
from typer.testing import CliRunner

from rlmrec_fast.cli import app
from rlmrec_fast.data import Dataset
from rlmrec_fast.data.tables import make_table
from rlmrec_fast.semantic import encode as module
from rlmrec_fast.semantic.encode import EncodeRequest, encode
from rlmrec_fast.semantic.encoders import EncoderOptions, unit_rows

OPTIONS = EncoderOptions(dim=6)


class Counting:
    """An encoder that remembers what it was asked; its vectors depend on the text alone."""

    name, version, workers = "counting", "1", 1

    def __init__(self, workers: int = 1) -> None:
        self.workers = workers
        self.asked: list[str] = []
        self.most = self.under_way = 0
        self.lock = threading.Lock()

    def encode(self, texts):
        with self.lock:
            self.asked += texts
            self.under_way += 1
            self.most = max(self.most, self.under_way)
        time.sleep(0.002 * self.workers - 0.002)
        with self.lock:
            self.under_way -= 1
        return unit_rows([[len(text), text.count("e") + 1, text.count("a")] for text in texts])


class Killed(BaseException):
    """Stands for kill -9: no handler of the package may catch it."""


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Counting:
    encoder = Counting()
    monkeypatch.setattr(module, "create_encoder", lambda *_: encoder)
    monkeypatch.setattr(module, "BLOCK", 7)
    return encoder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "toy"
    texted().save(path)
    return path


def test_every_text_is_encoded_once_and_the_data_set_gets_the_vectors(data, counting) -> None:
    before = Dataset.load(data)
    report = encode(EncodeRequest(data))
    after = Dataset.load(data)
    texts = before.items["profile"].to_list() + before.users["profile"].to_list()
    assert sorted(counting.asked) == sorted(texts)
    expected = unit_rows([[len(t), t.count("e") + 1, t.count("a")] for t in texts])
    np.testing.assert_array_equal(after.item_vectors, expected[:20])
    np.testing.assert_array_equal(after.user_vectors, expected[20:])
    assert isinstance(after.user_vectors, np.memmap)
    assert (after.train != before.train).nnz == 0
    assert (report.dim, report.items.encoded, report.users.encoded) == (3, 20, 30)
    assert after.encoding == report.encoding
    assert report.encoding["encoder"] == "counting"
    assert [path.name for path in data.parent.iterdir()] == ["toy"]


def test_a_finished_encoding_is_left_alone(data, counting) -> None:
    encode(EncodeRequest(data))
    before = (data / "dataset.json").stat()  # files are written aside: a new one is another
    counting.asked.clear()
    assert encode(EncodeRequest(data)).items.encoded == 0
    assert counting.asked == []
    after = (data / "dataset.json").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_other_vectors_are_replaced_only_when_told(data, counting) -> None:
    encode(EncodeRequest(data))
    counting.version = "2"
    with pytest.raises(FileExistsError, match=r"must not have vectors \(got those of counting\)"):
        encode(EncodeRequest(data))
    encode(EncodeRequest(data, out=data.parent / "second"))
    assert Dataset.load(data).encoding["version"] == "1"
    encode(EncodeRequest(data, overwrite=True))
    assert Dataset.load(data).encoding["version"] == "2"
    counting.version = "3"
    with pytest.raises(FileExistsError, match="path must not exist"):
        encode(EncodeRequest(data, out=data.parent / "second"))


def test_changed_texts_or_interactions_are_encoded_again(data, counting) -> None:
    out = data.parent / "out"
    encode(EncodeRequest(data, out=out))
    dataset = Dataset.load(data)
    items = dataset.items.with_columns(profile=dataset.items["profile"] + "!")
    replace(dataset, items=items).save(data, overwrite=True)
    report = encode(EncodeRequest(data, out=out, overwrite=True))
    assert (report.items.encoded, report.users.encoded) == (20, 30)
    replace(dataset, items=items, validation=dataset.test).save(data, overwrite=True)
    encode(EncodeRequest(data, out=out, overwrite=True))
    assert (Dataset.load(out).validation != dataset.test).nnz == 0


def test_rlmrecs_folder_stays_as_it_is(rlmrec_like, counting) -> None:
    names = sorted(os.listdir(rlmrec_like))
    with pytest.raises(ValueError, match="--out must name a folder"):
        encode(EncodeRequest(rlmrec_like))
    encode(EncodeRequest(rlmrec_like, out=rlmrec_like.parent / "out", allow_zero_vectors=True))
    assert sorted(os.listdir(rlmrec_like)) == names
    assert Dataset.load(rlmrec_like.parent / "out").item_vectors.shape == (4, 3)


@pytest.fixture
def rlmrec_like(tmp_path: Path) -> Path:
    import pickle

    import scipy.sparse as sp

    folder = tmp_path / "theirs"
    folder.mkdir()
    for name in ("trn", "val", "tst"):
        (folder / f"{name}_mat.pkl").write_bytes(pickle.dumps(sp.coo_matrix(np.eye(3, 4))))
    (folder / "itm_prf.pkl").write_bytes(pickle.dumps({0: {"profile": "tea"}, 2: {"profile": "x"}}))
    return folder


def test_titles_and_descriptions_stand_in_for_profiles(counting, tmp_path) -> None:
    dataset = texted()
    profiles, descriptions = dataset.items["profile"].to_list(), [None] * 20
    profiles[3], profiles[4], descriptions[4], descriptions[5] = None, " ", "so good ", "unused"
    ids, titles = (dataset.items[name].to_list() for name in ("id", "title"))
    items = make_table(ids, titles, profiles, descriptions)
    replace(dataset, items=items).save(tmp_path / "toy")
    report = encode(EncodeRequest(tmp_path / "toy"))
    assert report.items.described == 2
    assert titles[3] in counting.asked
    assert f"{titles[4]}\nso good" in counting.asked
    assert profiles[5] in counting.asked


def test_users_without_text_get_the_mean_of_their_training_items(counting, tmp_path) -> None:
    silent = [0, 7, 29]
    dataset = texted(silent_users=silent)
    train = dataset.train.tolil()
    train[7] = 0  # nothing to take a mean of
    replace(dataset, train=train.tocsr()).save(tmp_path / "toy")
    request = EncodeRequest(tmp_path / "toy", users_from_items=True)
    with pytest.raises(ValueError, match=r"no vector must be zero \(got 1 users"):
        encode(request)
    assert len(counting.asked) == 20 + 27
    report = encode(replace(request, allow_zero_vectors=True))
    assert len(counting.asked) == 20 + 27, "what was encoded is kept"
    assert (report.users.from_items, report.users.zero) == (3, 1)
    after = Dataset.load(tmp_path / "toy")
    weights = after.train.toarray().astype(np.float64)
    items = np.asarray(after.item_vectors, np.float64)
    for user in (0, 29):
        mean = weights[user] @ items / weights[user].sum()
        np.testing.assert_array_equal(after.user_vectors[user], mean.astype(np.float32))
    assert not after.user_vectors[7].any()
    lengths = np.linalg.norm(after.user_vectors[[1, 28]], axis=1)
    np.testing.assert_allclose(lengths, 1, rtol=1e-6)


def test_users_need_no_table_to_get_means(counting, tmp_path) -> None:
    replace(texted(), users=None).save(tmp_path / "toy")
    request = EncodeRequest(tmp_path / "toy", dtype="float16")
    with pytest.raises(ValueError, match=r"all users .* \(got none for 30 of 30\); --users-from"):
        encode(request)
    assert encode(replace(request, users_from_items=True)).users.from_items == 30
    after = Dataset.load(tmp_path / "toy")
    assert after.user_vectors.dtype == after.item_vectors.dtype == np.float16
    assert after.user_vectors.any(axis=1).all()


def test_missing_texts_of_items_are_refused_or_zero(counting, tmp_path) -> None:
    dataset = texted()
    ids = dataset.items["id"].to_list()
    replace(dataset, items=make_table(ids)).save(tmp_path / "none")
    with pytest.raises(ValueError, match=r"items of synthetic must have texts \(got none\)"):
        encode(EncodeRequest(tmp_path / "none", allow_zero_vectors=True))
    replace(dataset, items=make_table(ids, profiles=["tea"] + [None] * 19)).save(tmp_path / "one")
    with pytest.raises(ValueError, match="got none for 19 of 20"):
        encode(EncodeRequest(tmp_path / "one"))
    assert encode(EncodeRequest(tmp_path / "one", allow_zero_vectors=True)).items.zero == 19


def test_several_workers_end_with_the_same_bits(data, counting, monkeypatch) -> None:
    encode(EncodeRequest(data, out=data.parent / "one"))
    many = Counting(workers=3)
    monkeypatch.setattr(module, "create_encoder", lambda *_: many)
    encode(EncodeRequest(data, out=data.parent / "many"))
    assert 1 < many.most <= 3
    assert sorted(many.asked) == sorted(counting.asked)
    same_vectors(Dataset.load(data.parent / "one"), Dataset.load(data.parent / "many"))


@pytest.mark.parametrize("workers", [1, 3])
def test_what_was_encoded_before_a_failure_is_kept(data, monkeypatch, workers) -> None:
    encoder = Counting(workers)
    monkeypatch.setattr(module, "create_encoder", lambda *_: encoder)
    monkeypatch.setattr(module, "BLOCK", 5)
    whole, calls = encoder.encode, []

    def failing(texts):
        calls.append(texts)
        if len(calls) == 3:
            raise OSError("no network")
        return whole(texts)

    monkeypatch.setattr(encoder, "encode", failing)
    with pytest.raises(OSError, match="no network"):
        encode(EncodeRequest(data))
    encode(EncodeRequest(data))
    # A block that was under way beside the failing one may be asked for again.
    assert len(encoder.asked) <= 50 + 5 * (workers - 1)


def moments(monkeypatch: pytest.MonkeyPatch, at: int | None) -> Callable[[], int]:
    """Counts the moments at which a process could be killed, and kills it at one of them."""
    count = 0

    def step() -> None:
        nonlocal count
        count += 1
        if count == at:
            raise Killed

    def around(function):
        def wrapped(*arguments, **keywords):
            step()
            result = function(*arguments, **keywords)
            step()
            return result

        return wrapped

    for name in ("replace", "fsync", "write"):
        monkeypatch.setattr(os, name, around(getattr(os, name)))
    return lambda: count


def test_a_run_killed_at_any_moment_ends_with_the_same_bits(data, counting) -> None:
    out, expected = data.parent / "out", data.parent / "expected"
    request = EncodeRequest(data, out=out, overwrite=True)
    with pytest.MonkeyPatch.context() as patch:
        count = moments(patch, None)
        encode(replace(request, out=expected))
        total = count()
    assert total > 30
    texts = len(counting.asked)
    for moment in range(1, total + 1):
        counting.asked.clear()
        with pytest.MonkeyPatch.context() as patch:
            moments(patch, moment)
            with pytest.raises(Killed):
                encode(request)
        encode(request)
        same_vectors(Dataset.load(out), Dataset.load(expected))
        assert len(counting.asked) <= texts + 7, "only the block under way is asked for again"
        left = {path.name for path in data.parent.iterdir()} - {"toy", "expected", "out"}
        assert not any(name.endswith(".encoding") for name in left), moment
        subprocess.run(["rm", "-rf", out, *(data.parent / name for name in left)], check=True)


SLOW = """
import sys, time
from pathlib import Path
from rlmrec_fast.semantic import encode as module
from rlmrec_fast.semantic.encoders import LsaEncoder

def slowly(self, texts, fast=LsaEncoder.encode):
    time.sleep(0.02)
    return fast(self, texts)

LsaEncoder.encode, module.BLOCK = slowly, 2
module.encode(module.EncodeRequest(Path(sys.argv[1]), out=Path(sys.argv[2])))
"""


def written(work: Path) -> int:
    """How much the journals hold."""
    return sum(path.stat().st_size for path in work.glob("*.jsonl"))


def test_kill_9_at_random_moments(data) -> None:
    out, expected = data.parent / "out", data.parent / "expected"
    words = [sys.executable, "-c", SLOW, str(data)]
    rng = random.Random(5)
    for _ in range(2):
        before = written(data.parent / ".out.encoding")
        process = subprocess.Popen([*words, str(out)])
        while process.poll() is None and written(data.parent / ".out.encoding") == before:
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.2))
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert subprocess.run([*words, str(out)]).returncode == 0
    encode(EncodeRequest(data, out=expected))
    same_vectors(Dataset.load(out), Dataset.load(expected))


def call(*words: object):
    return CliRunner().invoke(app, [str(word) for word in words])


def test_the_command_encodes_tells_and_resumes(data) -> None:
    result = call("encode", data, "--dim", 6, "--threads", 1)
    assert result.exit_code == 0, result.output
    assert "lsa, 6 dimensions" in result.stdout
    assert "30 users, 30 with text, 30 encoded now" in result.stdout
    facts = json.loads(call("encode", data, "--dim", 6, "--json").stdout)
    assert facts["items"]["encoded"] == 0
    assert facts["encoding"]["version"].endswith("dim 6, seed 2023")
    assert Dataset.load(data).item_vectors.shape == (20, 6)
    assert "Example: rlmrec-fast encode" in call("encode", "--help").stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--encoder", "bert"], "encoder must be lsa, sentence-transformers:MODEL"),
        (["--dtype", "int8"], "dtype must be float32 or float16 (got 'int8')"),
        (["--dim", "0"], "dim must be at least 1 (got 0)"),
        (["--threads", "0"], "--threads must be at least 1 (got 0)"),
    ],
)
def test_a_wrong_request_is_refused_in_one_line(data, words, message) -> None:
    result = call("encode", data, *words)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert [path.name for path in data.parent.iterdir()] == ["toy"]


def test_encoded_texts_train_an_alignment(data, tmp_path) -> None:
    assert call("encode", data, "--dim", 6).exit_code == 0
    words = ["--align", "contrastive", "--epochs", 1, "--set", "dim=4", "--set", "eval_every=1"]
    result = call("train", "--data", data, "--out", tmp_path / "run", *words)
    assert result.exit_code == 0, result.output
