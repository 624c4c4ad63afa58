"""Records become tables, those of a GPU apart from those of a CPU."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

from bench import report
from bench.__main__ import main
from bench.report import (
    ROOT,
    full_report,
    on_gpu,
    read_records,
    replace_between,
    rewrite_tables,
    summary,
    write_records,
)

PUBLISHED = ROOT / "bench" / "results" / "epyc-2core.jsonl"
GPU = {
    "name": "a GPU",
    "capability": "9.0",
    "multiprocessors": 132,
    "memory": 80 * 10**9,
    "L2": 2**25,
    "cuda": "13.0",
    "driver": "580.65",
    "power limit": "700.00 W",
    "kernels": "sm_90",
}


def records_on(gpu: dict | None) -> list[dict]:
    record = json.loads(PUBLISHED.read_text().splitlines()[0])
    return [record | {"environment": record["environment"] | ({"device": gpu} if gpu else {})}]


@pytest.fixture
def pages(tmp_path, monkeypatch) -> Path:
    for module in (report, importlib.import_module("bench.__main__")):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    (tmp_path / "bench").mkdir()
    for path, name in (("bench/README.md", "results"), ("README.md", "summary")):
        parts = [
            f"<!-- bench:{key} -->\nold\n<!-- /bench:{key} -->" for key in (name, name + "-cuda")
        ]
        (tmp_path / path).write_text("\n\n".join(parts))
    return tmp_path


def test_published_tables_are_those_of_the_published_records():
    records = read_records(PUBLISHED)
    assert not on_gpu(records)
    for path, name, text in (
        ("bench/README.md", "results", full_report(records)),
        ("README.md", "summary", summary(records)),
    ):
        page = (ROOT / path).read_text()
        assert replace_between(page, name, text) == page


@pytest.mark.parametrize(("gpu", "changed"), [(None, 0), (GPU, 1)])
def test_tables_of_a_gpu_have_places_of_their_own(gpu, changed, pages):
    records = records_on(gpu)
    assert rewrite_tables(records) == [
        f"{pages / path}: rewritten" for path in ("bench/README.md", "README.md")
    ]
    for path in ("bench/README.md", "README.md"):
        sections = (pages / path).read_text().split("\n\n<!-- bench:")
        text = "".join(sections)
        assert text.count("\nold\n") == 1
        other = text.index("-cuda -->")
        assert (text.index("\nold\n") < other) is bool(changed)
        assert ("a GPU (compute capability 9.0), 132 multiprocessors, 80 GB" in text) is bool(gpu)


def test_the_heading_names_the_gpu_its_driver_and_the_host():
    head = full_report(records_on(GPU)).splitlines()[0]
    assert head.startswith(
        "a GPU (compute capability 9.0), 132 multiprocessors, 80 GB, CUDA 13.0, "
    )
    assert "driver 580.65, power limit 700.00 W; host: AMD EPYC, 2 of 2 cores" in head
    assert full_report(records_on(None)).startswith("AMD EPYC, 2 of 2 cores")


def test_records_of_two_devices_make_no_table(pages, capsys):
    path = pages / "both.jsonl"
    write_records(path, records_on(None) + records_on(GPU))
    assert main(["--table", str(path)]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err == f"bench: {path} must hold records of one device (got a GPU and the CPU)\n"
    write_records(path, records_on(GPU) + records_on(GPU | {"name": "another"}))
    with pytest.raises(ValueError, match=r"one device \(got a GPU and another\)"):
        read_records(path)
