"""New items, placed by their texts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from short_runs import train
from torch.nn.functional import cosine_similarity, leaky_relu, normalize
from typer.testing import CliRunner

from rlmrec_fast import ops
from rlmrec_fast.cli import app
from rlmrec_fast.data import Dataset
from rlmrec_fast.data.synthetic import synthesize
from rlmrec_fast.semantic.encode import EncodeRequest, encode
from rlmrec_fast.serving.catalog import Catalog
from rlmrec_fast.serving.cold import encode_alike, place, with_unseen_placed
from rlmrec_fast.training.checkpoint import load_tensors
from rlmrec_fast.training.evaluation import sorted_rows
from rlmrec_fast.training.inference import TrainedRun


def call(*words: object):
    return CliRunner().invoke(app, [str(word) for word in words])


def refused(*words: object) -> str:
    result = call(*words)
    assert result.exit_code == 2, result.output[:500]
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


@pytest.fixture(scope="module")
def aligned(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("aligned")
    return {align: train(data, folder / align, align) for align in ("contrastive", "generative")}


@pytest.fixture
def contrastive(aligned: dict[str, Path]) -> TrainedRun:
    return TrainedRun.load(aligned["contrastive"])


def seen_length(run: TrainedRun) -> float:
    seen = np.unique(run.dataset.train.indices).astype(np.int64)
    return float(run.item_embedding[torch.from_numpy(seen)].norm(dim=1).median())


def test_the_projector_gives_the_direction(contrastive):
    text = np.array(contrastive.dataset.item_vectors[3:9])
    tensors, _ = load_tensors(contrastive.run.best_path)
    w1, b1, w2, b2 = (
        tensors[f"alignment.projector.{name}"] for name in ("weight1", "bias1", "weight2", "bias2")
    )
    projected = leaky_relu(torch.from_numpy(text) @ w1.T + b1, 0.01) @ w2.T + b2
    expected = normalize(projected, dim=1) * seen_length(contrastive)
    for method in ("projector", None):
        assert place(contrastive, text, method).allclose(expected, atol=1e-5)
    assert place(contrastive, text.astype(np.float16)).allclose(expected, atol=1e-2)


def test_neighbours_give_their_mean(run):
    text = np.random.default_rng(0).standard_normal((5, run.dataset.item_vectors.shape[1]))
    placed = place(run, text, "neighbors")
    assert place(run, text).equal(placed)
    cosines = cosine_similarity(
        torch.from_numpy(text)[:, None], torch.tensor(run.dataset.item_vectors)[None], dim=2
    )
    mean = run.item_embedding[cosines.topk(10, dim=1).indices].mean(dim=1)
    assert placed.allclose(normalize(mean, dim=1) * seen_length(run), atol=1e-5)


def test_generative_runs_are_served_by_neighbours(aligned):
    run = TrainedRun.load(aligned["generative"])
    text = np.array(run.dataset.item_vectors[:4])
    assert place(run, text).equal(place(run, text, "neighbors"))
    with pytest.raises(ValueError, match=r"got generative: its projector leads from embeddings to"):
        place(run, text, "projector")


@pytest.mark.parametrize(
    ("vectors", "method", "message"),
    [
        (np.ones((2, 3)), None, "new vectors must be .* wide.*one encoder must make both .got 3"),
        (np.ones((2, 3)), "neighbors", "wide, as those that the data set has"),
        (np.zeros((2, 64)), None, "must not be zero .got a zero row, number 0"),
        (np.full((2, 64), np.nan), None, "must be finite"),
        (np.ones(3), None, "must have shape"),
        (np.ones((2, 3)), "magic", "--place must be one of projector, neighbors"),
    ],
)
def test_wrong_vectors_are_refused(contrastive, vectors, method, message):
    width = contrastive.dataset.item_vectors.shape[1]
    if vectors.shape == (2, 64):
        vectors = vectors[:, :1].repeat(width, axis=1)
    with pytest.raises(ValueError, match=message):
        place(contrastive, vectors, method)


def test_a_run_without_projector_says_so(run):
    with pytest.raises(ValueError, match=r"--place neighbors serves every run .*it has no projec"):
        place(run, np.ones((1, 4)), "projector")
    bare = TrainedRun(run.run, replace(run.dataset, item_vectors=None))
    with pytest.raises(ValueError, match="--place neighbors needs item_vectors"):
        place(bare, np.ones((1, 4)))


def test_items_without_interactions_are_placed_on_request(data, tmp_path):
    dataset = Dataset.load(data)
    train_ = dataset.train.tolil()
    train_[:, [4, 70]] = 0
    replace(dataset, train=sp.csr_array(train_)).save(tmp_path / "data")
    run = TrainedRun.load(train(tmp_path / "data", tmp_path / "run"))
    plain = Catalog.of(run)
    placed = with_unseen_placed(run, plain)
    changed = (placed.embedding != plain.embedding).any(dim=1).nonzero().flatten().tolist()
    assert changed == [4, 70]
    text = np.array(run.dataset.item_vectors[[4, 70]])
    assert placed.embedding[[4, 70]].equal(place(run, text))


def test_new_texts_are_encoded_as_the_data_sets_own(data, tmp_path):
    encode(EncodeRequest(data, "lsa", tmp_path / "encoded"))
    dataset = Dataset.load(tmp_path / "encoded")
    again = encode_alike(dataset, dataset.items[5:20])
    assert (again == dataset.item_vectors[5:20]).all()
    with pytest.raises(ValueError, match="does not tell how its own vectors were made"):
        encode_alike(replace(dataset, encoding=None), dataset.items)
    other = {**dataset.encoding, "version": dataset.encoding["version"].replace("scikit", "other")}
    with pytest.raises(ValueError, match="lsa is another one here"):
        encode_alike(replace(dataset, encoding=other), dataset.items)


@pytest.fixture
def new_items(contrastive, tmp_path, monkeypatch) -> list[str | Path]:
    """Options for two new items with the texts of two known ones."""
    monkeypatch.chdir(tmp_path)
    Path("new.csv").write_text("id,title,profile\nn1,One,text\nn2,,text\n")
    np.save("new.npy", contrastive.dataset.item_vectors[[3, 7]])
    return ["--new-items", "new.csv", "--new-vectors", "new.npy"]


def test_a_new_item_is_recommended_exported_and_compared(aligned, contrastive, new_items):
    run = aligned["contrastive"]
    user = contrastive.dataset.users["id"][11]
    result = call("recommend", run, "--user", user, "-k", 82, "--json", *new_items)
    found = {item["id"]: item for item in json.loads(result.stdout)["items"]}
    assert found["n1"]["title"] == "One"
    assert found["n1"]["item"] is None
    placed = place(contrastive, np.load("new.npy"))
    score = float(placed[0] @ contrastive.user_embedding[11])
    assert found["n1"]["score"] == pytest.approx(score, abs=1e-5)
    result = call("export", run, "out", "--json", *new_items)
    facts = json.loads(result.stdout)
    assert (facts["items"], facts["new_items"]) == (82, 2)
    result = call("similar", run, "--item", "n2", "-k", 81, "--json", *new_items)
    assert len(json.loads(result.stdout)["items"]) == 81


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--new-vectors", "new.npy"], "--new-vectors must come with --new-items"),
        (["--new-items", "none.csv"], "none.csv must be a file"),
        (["--new-items", "known.csv", "--new-vectors", "new.npy"], "must have ids of their own"),
        (["--new-items", "bad.csv", "--new-vectors", "new.npy"], "got line 3: id must not be emp"),
        (["--new-items", "one.csv", "--new-vectors", "new.npy"], "must have shape (1, t)"),
        (["--new-items", "one.csv"], "does not tell how its own vectors were made"),
        (["--new-items", "one.csv", "--new-columns", "id=x"], "--new-columns id=x: one.csv must"),
        (["--place-unseen", "--place", "magic"], "--place must be one of projector, neighbors"),
    ],
)
def test_wrong_new_items_are_refused_in_one_line(aligned, contrastive, new_items, words, message):
    Path("known.csv").write_text(f"id\n{contrastive.dataset.items['id'][0]}\nx\n")
    Path("bad.csv").write_text("id,title\na,b\n,c\n")
    Path("one.csv").write_text("id,profile\na,b\n")
    assert message in refused("recommend", aligned["contrastive"], "--all", *words)


def recall_of_held_out_items(dataset: Dataset, folder: Path, align: str, **changes: object):
    """Leaves a tenth of the items out, trains, places them by their texts and ranks them.

    Returns:
        Recall@20 among these items by method, and what chance gives.
    """
    everything = sp.csr_array(dataset.train + dataset.validation + dataset.test)
    order = np.random.default_rng(0).permutation(dataset.num_items)
    cold, warm = (np.sort(part) for part in np.split(order, [dataset.num_items // 10]))
    parts = {split: getattr(dataset, split)[:, warm] for split in ("train", "validation", "test")}
    vectors = np.array(dataset.item_vectors)
    warm_only = replace(dataset, items=None, item_vectors=vectors[warm], encoding=None, **parts)
    warm_only.save(folder / "data")
    run = TrainedRun.load(train(folder / "data", folder / "run", align, **changes))
    held_out = everything[:, cold]
    users = np.flatnonzero(np.diff(held_out.indptr))
    found = {"chance": 20 / len(cold)}
    for method in ("projector", "neighbors"):
        placed = place(run, vectors[cold], method)
        best, _ = ops.rank(run.user_embedding[users], placed, 20)
        recall = ops.ranking_metrics(best, sorted_rows(held_out[users]), (20,)).recall
        found[method] = float(recall)
    return found


def test_held_out_items_are_found_by_their_texts(tmp_path):
    dataset = synthesize(400, 1000, 12_000, seed=3)
    found = recall_of_held_out_items(dataset, tmp_path, "contrastive", dim=16, max_epochs=20)
    assert found["projector"] > 2 * found["chance"]
    assert found["neighbors"] > 2 * found["chance"]


@pytest.mark.realdata
def test_held_out_books_are_found_by_their_texts(realdata, tmp_path):
    amazon = Dataset.load(realdata / "amazon")
    few = np.arange(500)
    parts = {split: getattr(amazon, split)[few] for split in ("train", "validation", "test")}
    counts = sum(np.bincount(part.indices, minlength=amazon.num_items) for part in parts.values())
    items = np.flatnonzero(counts)
    dataset = Dataset(
        "amazon",
        **{split: part[:, items] for split, part in parts.items()},
        user_vectors=np.array(amazon.user_vectors[few]),
        item_vectors=np.array(amazon.item_vectors)[items],
    )
    found = recall_of_held_out_items(dataset, tmp_path, "contrastive", dim=32)
    assert found["projector"] > 3 * found["chance"]
    assert found["neighbors"] > 3 * found["chance"]
