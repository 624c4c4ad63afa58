from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
import torch
from safetensors.numpy import load_file

from rlmrec_fast.serving import Catalog, export_tables

EXAMPLE = Path(__file__).parents[2] / "examples" / "serve_hnswlib.py"


def test_tables_and_ids_are_read_without_this_package(run, tmp_path):
    record = export_tables(run, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]
    tables = load_file(tmp_path / "out" / "embeddings.safetensors")
    assert (tables["user_embedding"] == run.user_embedding.numpy()).all()
    assert (tables["item_embedding"] == run.item_embedding.numpy()).all()
    for user in (0, 149):
        first, last = tables["seen_offsets"][user : user + 2]
        seen = sorted(run.dataset.train[[user]].indices.tolist())
        assert tables["seen_items"][first:last].tolist() == seen
    for side, table in (("users", run.dataset.users), ("items", run.dataset.items)):
        entries = json.loads((tmp_path / "out" / f"{side}.json").read_text())
        assert [entry["id"] for entry in entries] == table["id"].to_list()
        assert [entry["title"] for entry in entries] == table["title"].to_list()
    content = (tmp_path / "out" / "embeddings.safetensors").read_bytes()
    assert record == json.loads((tmp_path / "out" / "export.json").read_text())
    assert record == {
        "format": 1,
        "model": "lightgcn",
        "align": "none",
        "seed": 2023,
        "epoch": run.epoch,
        "data": run.dataset.name,
        "users": 150,
        "items": 80,
        "new_items": 0,
        "dim": 8,
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def test_ids_may_be_parquet_and_new_items_come_last(run, tmp_path):
    catalog = Catalog.of(run).with_new(["new"], [None], torch.ones(1, 8))
    record = export_tables(run, tmp_path / "out", catalog, ids="parquet")
    assert (record["items"], record["new_items"]) == (81, 1)
    assert pl.read_parquet(tmp_path / "out" / "items.parquet")["id"][-1] == "new"
    assert load_file(tmp_path / "out" / "embeddings.safetensors")["item_embedding"][-1].sum() == 8


def test_only_an_export_is_replaced_and_only_when_told(run, tmp_path):
    export_tables(run, tmp_path / "out")
    with pytest.raises(FileExistsError, match="must not exist, unless --overwrite"):
        export_tables(run, tmp_path / "out")
    export_tables(run, tmp_path / "out", ids="parquet", overwrite=True)
    assert not (tmp_path / "out" / "users.json").exists()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "precious").touch()
    with pytest.raises(FileExistsError, match=r"only a folder with export\.json may be replaced"):
        export_tables(run, tmp_path / "other", overwrite=True)
    with pytest.raises(ValueError, match="ids must be one of json, parquet"):
        export_tables(run, tmp_path / "new", ids="csv")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "out"]


def test_the_example_serves_what_is_recommended(run, tmp_path):
    pytest.importorskip("hnswlib")
    export_tables(run, tmp_path / "out")
    for user in (3, 77):
        name = run.dataset.users["id"][user]
        # Without the package in reach.
        environment = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
        program = (
            "import sys; sys.modules['rlmrec_fast'] = None; import runpy; sys.argv = sys.argv[1:]"
        )
        program += "; runpy.run_path(sys.argv[0])"
        result = subprocess.run(
            [sys.executable, "-c", program, EXAMPLE, tmp_path / "out", name],
            capture_output=True,
            text=True,
            check=True,
            env=environment,
        )
        lines = [line.split("\t") for line in result.stdout.splitlines()]
        expected = run.recommend(user, 10)
        # Approximate, but among 80 items hardly anything is missed.
        assert len({line[1] for line in lines} & {item.id for item in expected}) >= 9
        assert float(lines[0][0]) == pytest.approx(expected[0].score, abs=1e-3)
        assert lines[0][2] == expected[0].title
