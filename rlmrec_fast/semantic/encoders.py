"""What turns texts into vectors: `lsa`, `sentence-transformers:MODEL`, `openai:MODEL`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from rlmrec_fast.data.vectors import Vectors
from rlmrec_fast.errors import extra

if TYPE_CHECKING:
    from rlmrec_fast.semantic.server_encoder import ServerOptions

LSA, SENTENCES, SERVER = "lsa", "sentence-transformers", "openai"


class Encoder(Protocol):
    """Turns texts into vectors of length 1, the vector of a text without any meaning being zero.

    Attributes:
        name: As it was asked for.
        version: All else that decides the vectors.
        workers: How many calls of `encode` may be under way at once.
    """

    name: str
    version: str
    workers: int

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Encodes some texts.

        Returns:
            float32 `[len(texts), t]`.
        """
        ...


@dataclass(frozen=True)
class EncoderOptions:
    """What an encoder may be told.

    Attributes:
        dim: Size of the vectors of `lsa`.
        seed: Seed of `lsa`.
        max_tokens: Where `sentence-transformers` cuts a text; None for the model's own limit.
        batch_size: Texts that `sentence-transformers` takes through the model together.
        device: Where it does so.
        server: How `openai` asks its server; as by default if None.
    """

    dim: int = 256
    seed: int = 2023
    max_tokens: int | None = None
    batch_size: int = 32
    device: str = "cpu"
    server: ServerOptions | None = None

    def __post_init__(self) -> None:
        for name in ("dim", "max_tokens", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"encode: {name} must be at least 1 (got {value})")


def create_encoder(name: str, texts: Sequence[str], options: EncoderOptions) -> Encoder:
    """Makes an encoder by its name.

    Args:
        name: `lsa`; `sentence-transformers:MODEL`, a model's name or folder; or `openai:MODEL`, a
            model of a server that speaks OpenAI's protocol.
        texts: All texts that it will encode, from which `lsa` learns.
        options: What it may be told.

    Raises:
        ValueError: There is no such encoder or model.
        MissingExtraError: The encoder needs a package that is not installed.
    """
    kind, _, model = name.partition(":")
    if name == LSA:
        return LsaEncoder(texts, options.dim, options.seed)
    if kind == SENTENCES and model:
        return SentenceEncoder(model, options)
    if kind == SERVER and model:
        from rlmrec_fast.semantic.server_encoder import ServerEncoder, ServerOptions

        return ServerEncoder(model, options.server or ServerOptions())
    raise ValueError(
        f"encode: encoder must be {LSA}, {SENTENCES}:MODEL with a model's name or folder, or"
        f" {SERVER}:MODEL (got {name!r})"
    )


class LsaEncoder:
    """Latent semantic analysis: TF-IDF, then a truncated singular value decomposition.

    The same texts give the same bits, whatever the number of threads (and the same numpy,
    scikit-learn and processor type).

    Source: Deerwester et al., Indexing by latent semantic analysis, JASIS 1990.

    Args:
        texts: What to learn words and directions from.
        dim: Size of the vectors, less where the texts have fewer dimensions.
        seed: Of the decomposition, which is randomized; any integer, taken modulo 2**32.
    """

    name = LSA
    workers = 1

    def __init__(self, texts: Sequence[str], dim: int = 256, seed: int = 2023) -> None:
        import sklearn

        self.texts, self.dim, self.seed = texts, dim, seed
        self.version = f"scikit-learn {sklearn.__version__}, dim {dim}, seed {seed}"

    @cached_property
    def _fitted(self) -> tuple[Any, Any]:
        from sklearn.decomposition import TruncatedSVD
        from sklearn.feature_extraction.text import TfidfVectorizer

        words = TfidfVectorizer(stop_words="english", sublinear_tf=True)
        try:
            weights = words.fit_transform(self.texts)
        except ValueError as error:  # no text has a word
            raise ValueError(f"encode: texts must have words for {LSA} (got {error})") from error
        directions = TruncatedSVD(min(self.dim, *weights.shape), random_state=self.seed % 2**32)
        with _one_thread():
            return words, directions.fit(weights)

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Encodes some texts, by the words that they share with those it was made with."""
        words, directions = self._fitted
        with _one_thread():
            return unit_rows(directions.transform(words.transform(texts)))


def _one_thread() -> Any:
    """BLAS adds in another order with another number of threads."""
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1, user_api="blas")


class SentenceEncoder:
    """Any model of the package sentence-transformers.

    Args:
        model: A model's name or folder.
        options: Limit of tokens, batch size and device.

    Raises:
        ValueError: There is no such model.
        MissingExtraError: sentence-transformers is not installed.
    """

    workers = 1

    def __init__(self, model: str, options: EncoderOptions) -> None:
        with extra("text"):
            import sentence_transformers
            from transformers.utils import logging

        self.name = f"{SENTENCES}:{model}"
        # Loading takes a moment; its bar would be in the way of ours.
        logging.disable_progress_bar()
        try:
            self._model = sentence_transformers.SentenceTransformer(model, device=options.device)
        except (OSError, ValueError) as error:
            raise ValueError(
                f"encode: {self.name} must be a model that can be loaded; without network give its"
                f" folder (got {error})"
            ) from error
        if options.max_tokens is not None:
            self._model.max_seq_length = options.max_tokens
        self._batch_size = options.batch_size
        self.version = (
            f"sentence-transformers {sentence_transformers.__version__},"
            f" weights {_digest(self._model)}, {self._model.max_seq_length} tokens"
        )

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Encodes some texts, each cut at the limit of tokens."""
        vectors = self._model.encode(
            list(texts), batch_size=self._batch_size, show_progress_bar=False
        )
        return unit_rows(vectors)


def _digest(model: Any) -> str:
    """A hash of a model's weights, which a name or folder alone does not tell."""
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        # Bytes, for numpy has no bfloat16.
        digest.update(memoryview(tensor.cpu().contiguous().flatten().view(torch.uint8).numpy()))
    return digest.hexdigest()[:16]


def unit_rows(vectors: Any) -> Vectors:
    """Brings every row to length 1 in float32; rows of zeros stay."""
    tiny = np.finfo(np.float64).tiny
    wide = np.asarray(vectors, np.float64)
    # By the largest value first: squares of extreme ones would leave the range.
    wide = wide / np.maximum(np.abs(wide).max(axis=1, keepdims=True), tiny)
    length = np.sqrt((wide * wide).sum(axis=1, keepdims=True))
    unit: Vectors = (wide / np.maximum(length, tiny)).astype(np.float32)
    return unit
