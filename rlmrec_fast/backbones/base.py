"""What every backbone shares: the ego table, the BPR and reg terms, the tables for inference."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from functools import reduce
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from rlmrec_fast import ops
from rlmrec_fast.graph import InteractionGraph
from rlmrec_fast.ops.distinct import must_not_wait
from rlmrec_fast.ops.random import Seed


class Batch(NamedTuple):
    """A batch of training triplets.

    Attributes:
        users: int64 `[B]`.
        positives: int64 `[B]`, an item that the user interacted with.
        negatives: int64 `[B]`, an item that the user did not interact with.
    """

    users: Tensor
    positives: Tensor
    negatives: Tensor


class Backbone(nn.Module):
    """A graph recommender: from a table of ego embeddings to final embeddings, and its loss.

    A subclass implements `forward` and, where its loss is more than BPR + reg, extends `views` and
    `terms`: the first makes tables from ego embeddings, the second losses from tables, so that
    whoever trains the backbone may change the one and compare the other. Its constructor's
    keywords are names of training settings, so that `create` can hand them over.

    Args:
        graph: the training interactions.
        dim: embedding size d, at least 1.
        reg_weight: weight of the squared L2 norm of all parameters, at least 0.
        seed: seed of the Xavier-uniform initialisation (users and items separately).

    Raises:
        ValueError: a size or weight is out of bounds, or the graph has self-loops where it must not
            or none where it must.
    """

    paper: ClassVar[str]
    """Where the model comes from."""
    self_loops: ClassVar[bool] = False
    """Whether the graph must be built with self-loops."""
    recorded: bool = False
    """Whether steps are recorded and replayed: what `prepare` draws then stays at one place."""

    def __init__(self, graph: InteractionGraph, dim: int, reg_weight: float, seed: int) -> None:
        super().__init__()
        name, loops = type(self).__name__, self.self_loops
        check_bounds(name, dim >= 1, "dim must be at least 1", dim)
        check_bounds(name, reg_weight >= 0, "reg_weight must be >= 0", reg_weight)
        asked = f"graph must be built with self_loops={loops}"
        check_bounds(name, graph.self_loops is loops, asked, graph.self_loops)
        self.graph = graph
        self.reg_weight = reg_weight
        generator = torch.Generator().manual_seed(seed)
        table = torch.empty(graph.num_nodes, dim)
        for part in table.split([graph.num_users, graph.num_items]):
            nn.init.xavier_uniform_(part, generator=generator)
        self.embedding = nn.Parameter(table.to(graph.device))

    @classmethod
    def create(cls, graph: InteractionGraph, settings: Mapping[str, Any]) -> Backbone:
        """Builds the backbone from the settings that its constructor names."""
        return cls(graph, **{name: settings[name] for name in cls.parameters_and_defaults()})

    @classmethod
    def parameters_and_defaults(cls) -> dict[str, Any]:
        """The settings that the constructor takes, with their defaults."""
        parameters = list(inspect.signature(cls).parameters.values())[1:]
        return {parameter.name: parameter.default for parameter in parameters}

    def forward(self, ego: Tensor, seed: Seed) -> Tensor:
        """The final embeddings that follow from a table of ego embeddings.

        Args:
            ego: `[N, d]`, users first.
            seed: seed of whatever is random in training mode; not used in evaluation mode.

        Returns:
            `[N, d']`, users first; with dropout in training mode, without it in evaluation mode.
        """
        raise NotImplementedError

    def prepare(self, step: int, seed: Seed) -> None:
        """What precedes a training step; here nothing.

        For what is drawn once and then holds for several steps. It must not outlast an epoch,
        because checkpoints hold parameters only.

        Args:
            step: number of the step in its epoch, from 0.
            seed: seed of the step, that `views` gets too.
        """

    def draws(self, step: int) -> bool:
        """Whether `prepare` draws something in a step; here it never does.

        Training that replays recorded steps takes the steps that draw as usual. Whoever overrides
        `prepare` says here when that is, or cannot be replayed.
        """
        return False

    @property
    def final_dim(self) -> int:
        """Width d' of the final embeddings; here that of the ego embeddings."""
        return int(self.embedding.shape[1])

    def views(self, ego: Tensor, seed: Seed) -> tuple[Tensor, ...]:
        """The tables that a step's loss is made of; here the final embeddings alone.

        Args:
            ego: `[N, d]`, users first.
            seed: seed of the step.

        Returns:
            First the table that ranks, `[N, d']`, users first; then what else `terms` needs.
        """
        return (self(ego, seed),)

    def terms(self, views: tuple[Tensor, ...], batch: Batch) -> dict[str, Tensor]:
        """What a batch loses on the tables of `views`, without reg; here BPR.

        Returns:
            Scalars, already weighted: `rec_loss`, and `cl_loss` or `infomax_loss` where a subclass
            has them.
        """
        first_item = self.graph.num_users
        positives, negatives = batch.positives + first_item, batch.negatives + first_item
        return {"rec_loss": ops.bpr_loss(views[0], None, batch.users, positives, negatives)}

    def own_terms(self, batch: Batch, seed: Seed) -> dict[str, Tensor]:
        """The terms of a step that nobody else takes part in: `terms` of `views` of the embeddings.

        A subclass may find the same numbers with less work.
        """
        return self.terms(self.views(self.embedding, seed), batch)

    def loss(self, batch: Batch, seed: Seed, step: int = 0) -> dict[str, Tensor]:
        """The loss of one batch, term by term and already weighted.

        Args:
            batch: the triplets.
            seed: seed of the forward pass.
            step: number of the step in its epoch.

        Returns:
            The scalars of `terms` and `reg_loss`; the total is their sum.
        """
        self.prepare(step, seed)
        terms = self.own_terms(batch, seed)
        return {**terms, "reg_loss": self.reg_weight * squared_norm(self.parameters())}

    def compared(self, batch: Batch) -> Batch:
        """The part of a batch that an alignment compares with texts: what the loss looks at.

        A backbone whose loss ignores negatives leaves them out here.
        """
        return batch

    def split(self, table: Tensor) -> tuple[Tensor, Tensor]:
        """The users' and the items' part of a table of all nodes."""
        users, items = table.split([self.graph.num_users, self.graph.num_items])
        return users, items

    @torch.no_grad()
    def final(self) -> tuple[Tensor, Tensor]:
        """The embeddings used at inference: users `[U, d']` and items `[I, d']`."""
        training = self.training
        try:
            return self.split(self.eval()(self.embedding, seed=0))
        finally:
            self.train(training)


class Members(NamedTuple):
    """The distinct ids of a batch.

    Attributes:
        rows: int64 `[m]`; on a GPU the last one is repeated until there is one for every id.
        weights: `[m]`, 0 where it is repeated, else 1; None where all are 1.
        number: how many differ.
    """

    rows: Tensor
    weights: Tensor | None
    number: Tensor | int


def members(ids: Tensor, size: int) -> Members:
    """The distinct ones of ids in `[0, size)`, without waiting for a GPU."""
    padded = must_not_wait(ids)
    rows, _, counts = ops.distinct(ids, size, padded)
    if not padded:
        return Members(rows, None, len(rows))
    weights = counts > 0
    return Members(rows, weights, weights.sum())


class RankingBackbone(Backbone):
    """A backbone that propagates and learns from BPR alone: its steps look at a batch's nodes only.

    A subclass says how it propagates. One that changes `forward`, `views` or `terms` is trained
    like any other backbone.
    """

    def propagation(self, seed: Seed) -> dict[str, Any]:
        """How final embeddings follow from ego embeddings: what `ops.propagate` takes beside them.

        Args:
            seed: seed of whatever is random in training mode.
        """
        raise NotImplementedError

    def forward(self, ego: Tensor, seed: Seed) -> Tensor:
        """The final embeddings; see `Backbone.forward`."""
        return ops.propagate(ego, self.graph, **self.propagation(seed))

    def own_terms(self, batch: Batch, seed: Seed) -> dict[str, Tensor]:
        """BPR on the final embeddings of the batch's nodes; see `Backbone.own_terms`."""
        own, plain = type(self), RankingBackbone
        if (own.forward, own.views, own.terms) != (plain.forward, plain.views, plain.terms):
            return super().own_terms(batch, seed)
        first_item = self.graph.num_users
        nodes = (batch.users, batch.positives + first_item, batch.negatives + first_item)
        how = self.propagation(seed)
        loss = ops.propagated_bpr_loss(
            self.embedding, self.graph, how.pop("num_layers"), *nodes, **how
        )
        return {"rec_loss": loss}


def squared_norm(parameters: Iterable[Tensor]) -> Tensor:
    """The squared L2 norm of several parameters together."""
    return reduce(torch.add, map(ops.squared_norm, parameters))


def check_bounds(where: str, holds: bool, what: str, got: object) -> None:
    """Raises `ValueError` in the package's grammar unless a bound holds."""
    if not holds:
        raise ValueError(f"{where}: {what} (got {got})")
