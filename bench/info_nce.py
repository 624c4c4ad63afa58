"""Contrastive losses, forward and backward: InfoNCE, log-sum-exp of a product, reconstruction.

Floor: a product of all pairs forward and one backward for either side that has a gradient; every
table is read once and every gradient written once. Exponentials are not counted. Of repeated ids
only one counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from bench import alternatives, reference
from bench.data import Context
from bench.floor import Work
from bench.harness import Call, Case, Setup, relative_difference
from rlmrec_fast import ops

OURS, EAGER, COMPILED = "rlmrec_fast", "torch eager", "torch.compile"
CHUNKED = "torch, candidates in blocks (checkpoint)"
TEMPERATURE = 0.2
BATCH = 4096

Loss = Callable[..., Tensor]
Targets = Mapping[str, float]
Candidates = Literal["all", "batch"]


def cases(context: Context) -> Iterator[Case]:
    users, batch = context.pick((11_000, BATCH), (11_000, BATCH), (90, 64))
    yield distinct(context, batch, users, 32, {EAGER: 5.5, COMPILED: 2.3})
    yield distinct(context, batch, batch, 32, {EAGER: 5})
    for dim, target in ((64, 3), (128, 1.8), (384, 1.0)):
        yield distinct(context, batch, users, dim, {EAGER: target})
    yield million(context)
    yield contrastive_terms(context, 32, {EAGER: 8})
    for width in (384, 1536):
        yield masked_nodes(context, context.pick(3050, 3050, 40), width, {EAGER: 1.2})
    yield log_sum_exp(context, batch, users, 32)


def pairs_work(queries: int, candidates: int, dim: int, products: int, rows: int) -> Work:
    """The floor of a loss over all pairs.

    Args:
        queries: B.
        candidates: C.
        dim: d.
        products: of all pairs, forward and backward.
        rows: of all tables and all gradients.
    """
    return Work(rows * dim * 4, products * 2 * queries * candidates * dim)


def distinct(context: Context, batch: int, candidates: int, dim: int, targets: Targets) -> Case:
    """InfoNCE of random vectors, nothing repeated."""
    return _case(
        context,
        "info_nce",
        {"queries": batch, "candidates": candidates, "d": dim},
        _random(context, batch, batch, candidates, dim=dim),
        {
            OURS: partial(ops.info_nce, temperature=TEMPERATURE),
            EAGER: partial(reference.info_nce, temperature=TEMPERATURE),
            CHUNKED: partial(alternatives.chunked_info_nce, temperature=TEMPERATURE, block=1024),
        },
        pairs_work(batch, candidates, dim, 3, 2 * (2 * batch + candidates)),
        targets,
    )


def million(context: Context) -> Case:
    """InfoNCE with so many candidates that the whole matrix would not fit, in eager mode."""
    batch, candidates = context.pick((2048, 1_000_000), (64, 90), (64, 90))
    return _case(
        context,
        "info_nce, a million candidates",
        {"queries": batch, "candidates": candidates, "d": 32},
        _random(context, batch, batch, candidates, dim=32),
        {
            OURS: partial(ops.info_nce, temperature=TEMPERATURE),
            CHUNKED: partial(alternatives.chunked_info_nce, temperature=TEMPERATURE, block=8192),
        },
        pairs_work(batch, candidates, 32, 3, 2 * (2 * batch + candidates)),
    )


def contrastive_terms(context: Context, dim: int, targets: Targets) -> Case:
    """The three terms of RLMRec-Con for a batch of real triplets, ids repeated as they come."""
    graph = context.graph
    users, items = graph.num_users, graph.num_items
    generator = torch.Generator().manual_seed(1)
    chosen = torch.randperm(graph.num_interactions, generator=generator)[:BATCH]
    chosen = chosen.to(context.device)
    ids = [column[chosen] for column in (*graph.interactions(), ops.sample_negatives(graph, 1))]

    def terms(tables: tuple[Tensor, ...]) -> Iterator[tuple[Tensor, Tensor, Tensor, Candidates]]:
        user_table, item_table, user_texts, item_texts = tables
        yield user_table, user_texts, ids[0], "all"
        yield item_table, item_texts, ids[1], "batch"
        yield item_table, item_texts, ids[2], "batch"

    def ours(*tables: Tensor) -> Tensor:
        losses = (
            ops.info_nce_by_id(table, texts, chosen, TEMPERATURE, candidates)
            for table, texts, chosen, candidates in terms(tables)
        )
        return _sum(losses)

    def eager(*tables: Tensor) -> Tensor:
        losses = []
        for table, texts, chosen, candidates in terms(tables):
            own = texts[chosen]
            others = texts if candidates == "all" else own
            losses.append(reference.info_nce(table[chosen], own, others, TEMPERATURE))
        return _sum(losses)

    unique = [len(column.unique()) for column in ids]
    rows = users + items
    return _case(
        context,
        "the terms of Con by id",
        {"batch": len(chosen), "users": users, "items": items, "d": dim},
        _random(context, users, items, users, items, dim=dim),
        {OURS: ours, EAGER: eager},
        pairs_work(1, unique[0] * users + unique[1] ** 2 + unique[2] ** 2, dim, 3, 4 * rows),
        targets,
    )


def masked_nodes(context: Context, rows: int, width: int, targets: Targets) -> Case:
    """RLMRec-Gen's reconstruction; the texts have no gradient."""
    (rebuilt,) = _random(context, rows, dim=width)
    texts = torch.randn(rows, width, generator=torch.Generator().manual_seed(2))
    texts = F.normalize(texts.to(context.device))
    return _case(
        context,
        "reconstruction_loss",
        {"rows": rows, "d": width},
        [rebuilt],
        {
            OURS: lambda x: ops.reconstruction_loss(x, texts, TEMPERATURE),
            EAGER: lambda x: reference.reconstruction(x, texts, TEMPERATURE),
        },
        pairs_work(rows, rows, width, 2, 3 * rows),
        targets,
    )


def log_sum_exp(context: Context, batch: int, candidates: int, dim: int) -> Case:
    """AutoCF's mean of log-sum-exp of unbounded products."""
    return _case(
        context,
        "lse_matmul",
        {"queries": batch, "candidates": candidates, "d": dim},
        _random(context, batch, candidates, dim=dim),
        {
            OURS: ops.lse_matmul,
            EAGER: lambda query, others: torch.logsumexp(query @ others.T, dim=1).mean(),
        },
        pairs_work(batch, candidates, dim, 3, 2 * (batch + candidates)),
    )


def _case(
    context: Context,
    name: str,
    setting: dict[str, Any],
    tables: list[Tensor],
    losses: Mapping[str, Loss],
    work: Work,
    targets: Targets | None = None,
) -> Case:
    """A loss of tables, with the gradients of all of them; torch.compile takes the eager one."""

    def step(loss: Loss) -> Call:
        def call() -> tuple[Tensor, ...]:
            value = loss(*tables)
            return value.detach(), *torch.autograd.grad(value, tables)

        return call

    providers: dict[str, Setup] = {who: partial(step, loss) for who, loss in losses.items()}
    if context.compile and EAGER in losses:
        providers[COMPILED] = lambda: step(alternatives.compiled(losses[EAGER], *tables))
    return Case(
        "info_nce",
        name,
        setting,
        providers,
        {who: target for who, target in (targets or {}).items() if who in providers},
        floor=[(work, 1)],
        difference=relative_difference,
    )


def _random(context: Context, *rows: int, dim: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    drawn = (torch.randn(n, dim, generator=generator).to(context.device) for n in rows)
    return [table.requires_grad_() for table in drawn]


def _sum(losses: Iterable[Tensor]) -> Tensor:
    return torch.stack(list(losses)).sum()
