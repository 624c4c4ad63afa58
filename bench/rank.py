"""Full ranking: evaluation of all validation users, and the top items of a large catalogue.

Floor: a multiplication and an addition for every user, item and column; both tables are read once.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from bench import alternatives, reference
from bench.data import Context
from bench.floor import Work
from bench.harness import Call, Case, relative_difference
from rlmrec_fast import ops
from rlmrec_fast.training.evaluation import Evaluator

OURS, RLMREC = "rlmrec_fast", "RLMRec (dense scores and masks, Python metrics)"


def cases(context: Context) -> Iterator[Case]:
    yield evaluation(context, 32)
    users = context.pick(1_000, 1_000, 20)
    for dim in (64,):
        yield catalogue(context, users, context.pick(500_000, 100_000, 300), dim)


def rank_work(users: int, items: int, dim: int) -> Work:
    """The floor of ranking all items for all users."""
    return Work((users + items) * dim * 4, 2 * users * items * dim)


def evaluation(context: Context, dim: int) -> Case:
    """Recall and NDCG of the validation items at 5, 10 and 20, from final tables."""
    dataset = context.dataset
    tables = _tables(context, dataset.num_users, dataset.num_items, dim)

    def evaluator() -> Evaluator:
        return Evaluator(dataset.train, dataset.validation, device=context.device)

    def ours() -> Call:
        return partial(evaluator(), *tables)

    def rlmrec() -> Call:
        data = reference.RankingUsers(dataset.train, dataset.validation)
        return partial(reference.evaluate, *tables, data)

    def vectorised() -> Call:
        return partial(alternatives.torch_evaluation(evaluator(), dataset.num_items), *tables)

    users = len(evaluator().users)
    setting = {
        "users": users,
        "items": dataset.num_items,
        "held out": dataset.validation.nnz,
        "d": dim,
    }
    return Case(
        "rank",
        "evaluation",
        setting,
        {OURS: ours, RLMREC: rlmrec, "torch, vectorised": vectorised},
        {RLMREC: 20},
        [(rank_work(users, dataset.num_items, dim), 1)],
        relative_difference,
    )


def catalogue(context: Context, users: int, items: int, dim: int) -> Case:
    """The top 20 of many items for some users, nothing excluded."""
    tables = _tables(context, users, items, dim)
    providers = {
        OURS: lambda: lambda: ops.rank(*tables, 20)[1],
        "torch matmul + topk": lambda: lambda: torch.topk(tables[0] @ tables[1].T, 20).values,
        "torch matmul + topk, 64 users at a time": lambda: (
            lambda: alternatives.torch_rank(*tables, 20, None, batch=64)[1]
        ),
    }
    return Case(
        "rank",
        "top 20 of a large catalogue",
        {"users": users, "items": items, "d": dim},
        providers,
        {},
        [(rank_work(users, items, dim), 1)],
        relative_difference,
    )


def _tables(context: Context, users: int, items: int, dim: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return (
        torch.randn(users, dim, generator=generator).to(context.device),
        torch.randn(items, dim, generator=generator).to(context.device),
    )
