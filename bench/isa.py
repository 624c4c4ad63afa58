"""The same operators with each instruction set, and how far their results differ.

The library chooses its instruction set once, when it is loaded, so every one lives in a process of
its own, told by `RLMREC_FAST_ISA`. The processes take turns like all providers; they time
themselves and hand their results over as files.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, cast

import torch

from bench.data import Context, Size
from bench.harness import Call, Case, relative_difference
from rlmrec_fast import _native, ops
from rlmrec_fast.info import ISAS

_ROOT = Path(__file__).resolve().parents[1]


def operations(context: Context) -> dict[str, Call]:
    """What is measured; every call returns tensors."""
    graph = context.graph
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(graph.num_nodes, 32, generator=generator)
    wide = torch.randn(graph.num_nodes, 128, generator=generator)
    trained = x.clone().requires_grad_()
    users, items = x.split([graph.num_users, graph.num_items])
    batch = [ids[:4096] for ids in (*graph.interactions(), ops.sample_negatives(graph, 1))]
    tables = [table.clone().requires_grad_() for table in (users, items)]

    def train() -> tuple[torch.Tensor, ...]:
        result = ops.propagate(trained, graph, 3, keep_rate=0.8, seed=1)
        return result.detach(), *torch.autograd.grad(result, trained, x)

    return {
        "propagate, one layer, d 32": lambda: ops.propagate(x, graph, 1, combine="last"),
        "propagate, one layer, d 128": lambda: ops.propagate(wide, graph, 1, combine="last"),
        "propagate, three layers, dropout, forward + backward": train,
        "bpr, forward + backward": lambda: torch.autograd.grad(
            ops.bpr_loss(*tables, *batch), tables
        ),
        "rank, top 20 of all users": lambda: ops.rank(users, items, 20)[1],
        "sample_negatives": lambda: ops.sample_negatives(graph, 1),
    }


def cases(context: Context) -> Iterator[Case]:
    best = ISAS.index(_native.cpu_info()["isa"])
    with ExitStack() as stack:
        workers = {isa: stack.enter_context(Worker(isa, context)) for isa in ISAS[best::-1]}
        for name in operations(context):
            yield Case(
                "isa",
                name,
                {"interactions": context.graph.num_interactions},
                {isa: partial(Operation, worker, name) for isa, worker in workers.items()},
                difference=relative_difference,
                memory=False,
            )


class Worker:
    """A process that runs the operations with one instruction set."""

    def __init__(self, isa: str, context: Context) -> None:
        command = [sys.executable, "-m", "bench.isa", context.size, str(context.threads)]
        environment = {**os.environ, "RLMREC_FAST_ISA": isa}
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=_ROOT,
            env=environment,
        )

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(timeout=30)

    def ask(self, **request: Any) -> Any:
        """Sends a request and waits for the answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps(request), file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"isa: the worker ended with {self.process.wait()}")
        return json.loads(answer)


class Operation:
    """One operation of a worker, as the harness calls it."""

    def __init__(self, worker: Worker, name: str) -> None:
        self.worker = worker
        self.name = name

    def __call__(self) -> Any:
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "result.pt")
            self.worker.ask(name=self.name, result=path)
            return torch.load(path, weights_only=True)

    def sample(self, repeats: int) -> float:
        """Seconds that the worker took for some calls."""
        seconds: float = self.worker.ask(name=self.name, repeats=repeats)["seconds"]
        return seconds


def serve(size: str, threads: int) -> None:
    """Answers requests on standard input until it ends."""
    torch.set_num_threads(threads)
    calls = operations(Context(cast(Size, size), threads))
    for line in sys.stdin:
        request = json.loads(line)
        call = calls[request["name"]]
        if "result" in request:
            torch.save(call(), request["result"])
            answer = {}
        else:
            # Once unmeasured: the other processes have had the caches.
            call()
            start = perf_counter()
            for _ in range(request["repeats"]):
                call()
            answer = {"seconds": perf_counter() - start}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
