"""What an alignment is: it may change a backbone's input, and compares its output with texts."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn

from rlmrec_fast.backbones.base import Backbone, Batch, check_bounds
from rlmrec_fast.ops.random import Seed


class Sizes(NamedTuple):
    """All that an alignment knows of its backbone.

    Attributes:
        num_users: U; the first rows of every table are users.
        num_items: I; the other rows are items.
        dim: width d of the ego embeddings.
        final_dim: width d' of the final embeddings.
    """

    num_users: int
    num_items: int
    dim: int
    final_dim: int

    @classmethod
    def of(cls, backbone: Backbone) -> Sizes:
        """The sizes of a backbone."""
        graph, dim = backbone.graph, int(backbone.embedding.shape[1])
        return cls(graph.num_users, graph.num_items, dim, backbone.final_dim)


class Alignment(nn.Module):
    """Ties final embeddings to texts while training; plays no part at inference.

    A step goes: `mask` the ego embeddings, let the backbone run on what comes back, add `loss` of
    its final embeddings. A subclass's keywords are names of training settings, so that `create` can
    hand them over.

    Args:
        text: `[N, t]`, any float type: the texts' vectors, users first. Not a parameter, and not
            stored in checkpoints.
        sizes: of the backbone.

    Raises:
        ValueError: the number of rows is wrong.
    """

    paper: ClassVar[str] = "Ren et al., RLMRec, WWW 2024, arXiv 2310.15950"
    """Where the alignment comes from."""

    text: Tensor

    def __init__(self, text: Tensor, sizes: Sizes) -> None:
        super().__init__()
        rows = sizes.num_users + sizes.num_items
        fits = text.dim() == 2 and len(text) == rows
        what = f"text must have two dimensions and {rows} rows, users and items"
        check_bounds(type(self).__name__, fits, what, tuple(text.shape))
        self.register_buffer("text", text, persistent=False)

    @classmethod
    def create(cls, text: Tensor, sizes: Sizes, settings: Mapping[str, Any]) -> Alignment:
        """Builds the alignment from the settings that its constructor names."""
        names = cls.parameters_and_defaults()
        return cls(text, sizes, **{name: settings[name] for name in names})

    @classmethod
    def parameters_and_defaults(cls) -> dict[str, Any]:
        """The settings that the constructor takes, with their defaults."""
        parameters = list(inspect.signature(cls).parameters.values())[2:]
        return {parameter.name: parameter.default for parameter in parameters}

    def prepare(self, seed: int) -> None:
        """Draws what a step needs before it is replayed; here nothing.

        A step that is recorded gets its seed in a tensor, that the host must not look at. Whoever
        draws on the host in `mask` does it here for such a step, or cannot be replayed.

        Args:
            seed: seed of the step.
        """

    def mask(self, ego: Tensor, seed: Seed) -> tuple[Tensor, Tensor | None]:
        """What the backbone is to run on in a step; here the table as it is.

        Args:
            ego: `[N, d]`, users first.
            seed: seed of the step; in a tensor, that of the last `prepare`.

        Returns:
            The ego embeddings, some rows perhaps replaced, and the numbers of these rows, which
            `loss` gets back.
        """
        return ego, None

    def loss(self, table: Tensor, batch: Batch, masked: Tensor | None) -> Tensor:
        """How far final embeddings are from the texts.

        Args:
            table: `[N, d']`, the final embeddings that rank, users first.
            batch: the triplets; without negatives where the backbone's loss has none.
            masked: the rows that `mask` replaced.

        Returns:
            A scalar, already weighted.
        """
        raise NotImplementedError
