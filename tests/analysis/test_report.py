from __future__ import annotations

import csv
import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from analyzed import FAST, call
from PIL import Image

from rlmrec_fast import analysis
from rlmrec_fast.analysis.report import analyze
from rlmrec_fast.analysis.subject import from_runs, from_tables
from rlmrec_fast.data import Dataset
from rlmrec_fast.data.synthetic import synthesize
from rlmrec_fast.training.inference import TrainedRun

NAMES = ["LightGCN", "LightGCN-Con", "LightGCN-Gen"]


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    """Text vectors, two tables and what goes with them, in files."""
    rng = np.random.default_rng(0)
    text = rng.normal(size=(60, 8))
    np.save(tmp_path / "text.npy", text.astype(np.float16))
    np.save(tmp_path / "base.npy", rng.normal(size=(60, 4)).astype(np.float32))
    np.save(tmp_path / "mine.npy", text[:, :5])
    np.save(tmp_path / "counts.npy", rng.integers(0, 9, 60))
    (tmp_path / "titles.txt").write_text("".join(f"Book </script> & {at}\n" for at in range(60)))
    return tmp_path


def refused(*words: object) -> str:
    result = call("analyze", *words)
    assert result.exit_code == 2, result.output
    assert not result.stdout
    return result.stderr.splitlines()[-1]


def test_the_files_hold_what_the_functions_return(analysis_report, analysis_runs):
    summary = json.loads((analysis_report / "summary.json").read_text())
    runs = [TrainedRun.load(run) for run in analysis_runs]
    data = runs[0].dataset
    for side, vectors in (("items", data.item_vectors), ("users", data.user_vectors)):
        tables = {
            name: getattr(run, f"{side.removesuffix('s')}_embedding")
            for name, run in zip(NAMES, runs, strict=True)
        }
        found = analysis.overlap(vectors, tables, ks=(5, 20))
        facts = summary["sides"][side]
        assert facts["rows"] == len(vectors)
        for name in NAMES:
            for k in (5, 20):
                assert facts["overlap"][name][str(k)] == found.estimate(name, k)._asdict()
        assert facts["gain"][NAMES[1]] == found.gain(NAMES[1], NAMES[0])._asdict()
        assert NAMES[0] not in facts["gain"]
        trend = analysis.trend(vectors, tables)
        slopes = [facts["trend"]["slope"][name]["value"] for name in NAMES]
        np.testing.assert_allclose(slopes, [slope.value for slope in trend.slope], rtol=1e-9)
        assert facts["trend"]["counts"] == trend.pairs.tolist()
    assert summary["metrics"]["LightGCN-Con"] == runs[1].evaluate()
    assert summary["cases"][0]["id"] == "item-7"
    assert summary["cases"][0]["rule"] == "chosen"

    with (analysis_report / "table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 3 * 2
    row = next(r for r in rows if (r["side"], r["name"], r["k"]) == ("users", "LightGCN-Gen", "20"))
    assert (row["model"], row["align"], row["seed"]) == ("lightgcn", "generative", "2023")
    assert (
        float(row["overlap"]) == summary["sides"]["users"]["overlap"]["LightGCN-Gen"]["20"]["value"]
    )
    assert float(row["recall@20"]) == summary["metrics"]["LightGCN-Gen"]["recall@20"]


def test_every_figure_is_there_as_svg_and_png(analysis_report):
    kinds = ["overlap", "cdf", "histogram", "trend", "overlap-by-degree", "recall-by-degree"]
    names = {f"{side}-{kind}" for side in ("items", "users") for kind in kinds} | {"map"}
    files = {path.name for path in (analysis_report / "figures").iterdir()}
    assert files == {f"{name}.{kind}" for name in names for kind in ("svg", "png")}
    for name in names:
        root = ET.parse(analysis_report / "figures" / f"{name}.svg").getroot()
        assert root.tag.endswith("svg")
        with Image.open(analysis_report / "figures" / f"{name}.png") as image:
            assert min(image.size) > 300
            assert np.asarray(image.convert("L")).std() > 5


def test_the_same_report_is_written_again(analysis_report, analysis_runs, tmp_path):
    words = ["-k", 5, "-k", 20, "--map", "pca", "--item", "item-7"]
    assert call("analyze", *analysis_runs[::-1], "-o", tmp_path / "again", *words).exit_code == 0
    for path in analysis_report.rglob("*.*"):
        again = tmp_path / "again" / path.relative_to(analysis_report)
        assert path.read_bytes() == again.read_bytes(), path.name


def test_the_page_begins_with_what_it_comes_to(analysis_report):
    page = (analysis_report / "index.html").read_text()
    summary = json.loads((analysis_report / "summary.json").read_text())
    gain = summary["sides"]["items"]["gain"]["LightGCN-Con"]["value"]
    assert f"{abs(gain):.0%} (95% interval" in page
    assert "Contrastive alignment" in page


def test_a_report_is_replaced_only_when_told_and_nothing_else_ever(tables):
    words = ["--text", tables / "text.npy", f"--table=a={tables / 'base.npy'}", "-k", 5]
    words += ["--map", "pca", "-o", tables / "report"]
    result = call("analyze", *words)
    assert result.exit_code == 0
    assert "a: the overlap of items' neighbours" in result.stdout
    assert f"The report: {tables / 'report' / 'index.html'}" in result.stdout
    (tables / "report" / "stale").touch()
    assert "must not exist, unless --overwrite is given" in refused(*words)
    assert call("analyze", *words, "--overwrite").exit_code == 0
    assert not (tables / "report" / "stale").exists()
    (tables / "mine").mkdir()
    (tables / "mine" / "thesis.tex").touch()
    message = refused(*words[:-1], tables / "mine", "--overwrite")
    assert "only a report may be overwritten" in message
    assert [path.name for path in tables.iterdir() if path.name.startswith(".")] == []


def test_runs_that_cannot_be_compared_are_refused_by_name(analysis_runs, analysis_data, tmp_path):
    out = ["-o", tmp_path / "report"]
    assert "must be a run folder" in refused(tmp_path, *out)
    assert "runs must name at least one run (got none)" in refused(*out)
    assert "every run must be given once" in refused(analysis_runs[0], analysis_runs[0], *out)
    assert "--item must be an id, such as 'item-0'" in refused(
        analysis_runs[0], *out, "--item", "nothing"
    )
    assert "method must be one of umap, pca, pacmap" in refused(
        analysis_runs[0], *out, "--map", "tsne"
    )
    assert "ks must be at least 1" in refused(analysis_runs[0], *out, "-k", 0)
    textless = replace(Dataset.load(analysis_data), user_vectors=None, item_vectors=None)
    textless.save(tmp_path / "textless")
    message = refused(analysis_runs[0], *out, "--data", tmp_path / "textless")
    assert "the data set must hold item_vectors (got none in synthetic)" in message
    synthesize(150, 120, 3000, seed=2).save(tmp_path / "other")
    call("train", "--data", tmp_path / "other", "--out", tmp_path / "run", *FAST)
    message = refused(analysis_runs[0], tmp_path / "run", *out)
    assert "runs must be of one data set" in message
    assert "differs from" in message
    assert not (tmp_path / "report").exists()


def test_users_without_texts_are_left_out_and_that_is_said(analysis_runs, analysis_data, tmp_path):
    items_only = replace(Dataset.load(analysis_data), user_vectors=None)
    items_only.save(tmp_path / "items")
    found = from_runs(analysis_runs[:1], tmp_path / "items")
    assert list(found.sides) == ["items"]
    assert "no text vectors of users" in found.notes[0]


def test_tables_of_any_recommender_are_taken(tables):
    words = ["--text", tables / "text.npy", "-o", tables / "report", "--map", "pca"]
    words += [f"--table=base={tables / 'base.npy'}", f"--table=mine={tables / 'mine.npy'}"]
    words += ["--titles", tables / "titles.txt", "--popularity", tables / "counts.npy"]
    result = call("analyze", *words, "-k", 100, "--item", 7)
    assert result.exit_code == 0, result.output
    assert "K was reduced to 59: of 60 rows each has no more neighbours." in result.stdout
    page = (tables / "report" / "index.html").read_text()
    assert "Book &lt;/script&gt; &amp; 7" in page
    assert len(re.findall("</script>", page)) == 2
    summary = json.loads((tables / "report" / "summary.json").read_text())
    assert summary["sides"]["items"]["gain"].keys() == {"mine"}
    assert summary["sides"]["items"]["by_degree"]["overlap"]["degrees"][0] == "0"
    assert summary["sides"]["items"]["by_degree"]["recall@20"] is None


def test_tables_that_do_not_fit_are_refused_by_name(tables, analysis_runs):
    text = ["--text", tables / "text.npy", "-o", tables / "report"]
    base = f"--table=base={tables / 'base.npy'}"
    np.save(tables / "short.npy", np.ones((50, 3), np.float32))
    np.save(tables / "nan.npy", np.full((60, 3), np.nan, np.float32))
    np.save(tables / "objects.npy", np.array([{}]), allow_pickle=True)
    (tables / "titles.txt").write_text("one\n")
    for words, message in (
        (text, "--table must be given with --text"),
        ([*text, "--table", "base.npy"], "--table must be NAME=FILE, names all different"),
        ([*text, base, base], "--table must be NAME=FILE, names all different"),
        ([*text, f"--table=a={tables / 'short.npy'}"], "tables['a'] must have 60 rows like text"),
        ([*text, f"--table=a={tables / 'nan.npy'}"], "tables['a'] must be finite"),
        ([*text, f"--table=a={tables / 'objects.npy'}"], "must be a whole .npy file"),
        ([*text, f"--table=a={tables / 'none.npy'}"], "none.npy"),
        ([*text, base, "--titles", tables / "titles.txt"], "titles must have 60 rows like text"),
        ([*text, base, "--popularity", tables / "base.npy"], "must hold whole numbers"),
        ([*text, base, analysis_runs[0]], "runs must not be given with --text"),
        ([analysis_runs[0], base, *text[2:]], "--table must come with --text"),
    ):
        assert message in refused(*words)


def test_many_tables_are_compared_and_the_first_few_are_mapped():
    rng = np.random.default_rng(0)
    tables = {f"table {at}": rng.normal(size=(40, 4)) for at in range(6)}
    subject = from_tables(rng.normal(size=(40, 6)), tables)
    found = analyze(subject, ks=(5,), method="pca")
    assert found.featured == tuple(tables)[:4]
    assert "Maps and case studies are of table 0, table 1, table 2, table 3." in found.notes
    assert len(found.table()) == 6


def test_text_vectors_of_zeros_are_counted():
    rng = np.random.default_rng(0)
    text = rng.normal(size=(40, 6))
    text[[3, 5]] = 0
    found = analyze(from_tables(text, {"a": rng.normal(size=(40, 4))}), ks=(5,), method="pca")
    assert "items: 2 text vectors are zero; they have no true neighbours." in found.notes


def test_seeds_of_one_variant_are_told_apart_and_averaged(analysis_data, analysis_runs, tmp_path):
    call("train", "--data", analysis_data, "--out", tmp_path / "b", "--seed", 1, *FAST)
    subject = from_runs([*analysis_runs, tmp_path / "b"])
    assert subject.names == ("LightGCN seed 1", "LightGCN seed 2023", *NAMES[1:])
    assert subject.bases == dict.fromkeys(("LightGCN seed 2023", *NAMES[1:]), "LightGCN seed 1")
    looks = [subject.looks[name].colour for name in subject.names]
    assert looks[0] == looks[1]
    found = analyze(subject, ks=(5,), method="pca")
    (row,) = found.sides["items"].table
    values = [found.sides["items"].overlap.estimate(name).value for name in subject.names[:2]]
    assert row.overlap["none"] == pytest.approx(sum(values) / 2)
    assert row.runs["none"] == 2
