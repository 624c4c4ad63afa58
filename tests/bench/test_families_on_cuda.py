"""Every family runs on a GPU: on a real one with `--device cuda`, else on one that stands in.

The stand-in cannot show that a kernel of ours or torch's works on a GPU, nor recording, nor
torch.compile; a table, graph or row number that was left on the CPU it does show.
"""

from __future__ import annotations

import gc
from contextlib import ExitStack
from importlib import import_module

import pytest
import torch

pytest.importorskip("scipy")
pytest.importorskip("polars")

from stand_in import THERE, Rerun, stand_in

from bench import alternatives, epoch, step
from bench.__main__ import FAMILIES, ON_THE_CPU, measure
from bench.data import Context
from bench.device import Cuda
from bench.floor import Peaks
from bench.harness import ONCE, run

# torch on a CPU has no product of these.
UNSUPPORTED = "not implemented for 'BFloat16'"
LEFT_OUT = {
    "sample": {"numpy rejection, vectorised"},
    "neighbors": {"Python sets"},
    "subgraphs": {"torch, vectorised"},
}


class StandIn(Cuda):
    """Measures on the stand-in, which has no counters."""

    def synchronize(self):
        pass

    def peak_extra_bytes(self, call):
        call()
        return 4096

    def peaks(self, seconds=0.5):
        return Peaks({"L2": 2**20}, {"L2": 1e12, "DRAM": 1e11}, 1e12, {"bf16": 4e12})


@pytest.fixture
def device(request, monkeypatch):
    """A real GPU, or what stands in for it."""
    if request.config.getoption("--device") == "cuda":
        yield Cuda(THERE)
        return
    monkeypatch.setattr(gc, "collect", lambda: 0)
    stand = StandIn(THERE)
    for module in (step, epoch):
        monkeypatch.setattr(module, "CudaGraphs", Rerun)
        monkeypatch.setattr(module, "device_at", lambda _: stand)
    with ExitStack() as stack:
        stack.enter_context(stand_in())
        yield stand


@pytest.mark.filterwarnings("ignore:CUDA is not available, disabling CUDA profiling")
@pytest.mark.parametrize("family", [name for name in FAMILIES if name not in ON_THE_CPU])
def test_a_family_runs_with_everything_on_the_gpu(family, device):
    context = Context("tiny", 1, compile=False, device=THERE)
    peaks, left_out, captured = device.peaks(0.01), set(), 0
    for every in import_module(f"bench.{family}").cases(context):
        case, names = every.on(device.place)
        left_out.update(names)
        captured += "rlmrec_fast, captured" in case.providers
        for record in run(case, ONCE, peaks, {}, device):
            if record.error is not None:
                assert not record.ours
                assert UNSUPPORTED in record.error
                continue
            assert record.median_ms > 0
            assert record.memory_bytes is not None
            tolerance = 0.02 if "bfloat16" in case.name else 1e-3
            assert (record.difference or 0.0) <= tolerance, record.provider
            if "profile" in record.details:
                assert sum(record.details["profile"].values()) == pytest.approx(1)
    assert left_out == LEFT_OUT.get(family, set())
    # All backbones, and one with both alignments.
    assert captured == {"step": 6 + 3 + 4, "epoch": 1}.get(family, 0)


def test_what_is_left_out_is_said_by_name(device, capsys, monkeypatch):
    monkeypatch.setattr("bench.__main__.device_at", lambda _: device)
    monkeypatch.setattr(Cuda, "environment", lambda _: {"device": {"name": "a GPU"}})
    monkeypatch.setattr("bench.__main__.QUICK", ONCE)
    context = Context("quick", 1, compile=False, device=THERE)
    vars(context).update(graph=Context("tiny", device=THERE).graph)
    vars(context).update(dataset=Context("tiny").dataset)
    records = measure(["graph", "isa", "sample", "prepare"], context)
    assert {record["family"] for record in records} == {"sample"}
    assert records[0]["environment"]["device"] == {"name": "a GPU"}
    said = [line for line in capsys.readouterr().out.splitlines() if "left out" in line]
    about = "left out on cuda:0, at work on the CPU by nature: "
    assert said == [about + "graph, isa, prepare", about + "numpy rejection, vectorised"]


def test_on_the_cpu_nobody_is_left_out():
    for family in LEFT_OUT:
        for case in import_module(f"bench.{family}").cases(Context("tiny", 1, compile=False)):
            assert case.on(torch.device("cpu")) == (case, [])


def test_a_product_that_torch_does_not_have_is_told_from_one_too_large():
    def without_kernel():
        raise NotImplementedError("not here\nstack")

    def too_large():
        raise torch.OutOfMemoryError("Tried to allocate")

    with pytest.raises(alternatives.UnavailableError, match=r"^torch: not here$"):
        alternatives.supported(without_kernel)
    with pytest.raises(torch.OutOfMemoryError):
        alternatives.supported(too_large)
