from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rlmrec_fast.semantic.journal import Journal


def written(path: Path) -> list[dict]:
    with Journal(path) as journal:
        return journal.records


def test_records_are_read_again_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "log.jsonl"
    with Journal(path) as journal:
        assert journal.records == []
        journal.append({"text": "été\n\ud800", "n": 1})
        assert path.read_bytes().count(b"\n") == 1
    with Journal(path) as journal:
        assert journal.records == [{"text": "été\n?", "n": 1}]
        journal.append({"n": 2})
    assert [record["n"] for record in written(path)] == [1, 2]


@pytest.mark.parametrize("torn", [b'{"n":', b'{"n":2}', b"\n", b"\0\0\0\n", b"[2]\n", b'{"n"\n'])
def test_a_torn_end_is_cut_off(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"n":1}\n' + torn)
    with Journal(path) as journal:
        assert journal.records == [{"n": 1}]
        journal.append({"n": 3})
    assert written(path) == [{"n": 1}, {"n": 3}]


def test_damage_elsewhere_is_refused_by_its_line_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    content = b'{"n":1}\n{"n"\n{"n":3}\n'
    path.write_bytes(content)
    with pytest.raises(ValueError, match="line 2 must be a JSON object"):
        Journal(path)
    assert path.read_bytes() == content


def test_only_one_process_writes(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with Journal(path), pytest.raises(ValueError, match="another process is writing it"):
        Journal(path)
    assert written(path) == []


def test_threads_never_mix_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with Journal(path) as journal, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: journal.append({"n": n, "text": "x" * 5000}), range(100)))
    assert sorted(json.loads(line)["n"] for line in path.read_text().splitlines()) == [*range(100)]


def test_a_cleared_journal_starts_anew(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with Journal(path) as journal:
        journal.append({"n": 1})
        journal.clear()
        journal.append({"n": 2})
    assert written(path) == [{"n": 2}]
