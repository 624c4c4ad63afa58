"""Clocks, counters, peaks and messages of a GPU, as far as they can be seen without one."""

from __future__ import annotations

import gc
from contextlib import contextmanager, nullcontext
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch

pytest.importorskip("scipy")

from stand_in import THERE, stand_in

from bench import device as devices
from bench import harness
from bench.__main__ import main, measure
from bench.data import Context
from bench.device import CPU, Cpu, Cuda, device_at
from bench.floor import Peaks, Work
from bench.harness import ONCE, Budget, Case, Recorded, run
from rlmrec_fast.training import model

CUDA = Cuda(THERE)
PROPERTIES = SimpleNamespace(
    name="a GPU",
    major=9,
    minor=0,
    multi_processor_count=132,
    total_memory=80 * 10**9,
    L2_cache_size=2**16,
    uuid="0000-1",
)


@pytest.fixture
def log(monkeypatch):
    """What torch.cuda is asked, in order; its counter stands at 100, and its peak at 350."""
    told = []

    def tell(name, result=None):
        def answer(*arguments):
            assert arguments == (THERE,)
            told.append(name)
            return result

        monkeypatch.setattr(torch.cuda, name, answer)

    tell("synchronize")
    tell("reset_peak_memory_stats")
    tell("memory_allocated", 100)
    tell("max_memory_allocated", 350)
    monkeypatch.setattr(gc, "collect", lambda *_: told.append("collect"))
    return told


def clock(monkeypatch, module, log):
    """The module's clock, which tells that it was read and goes on by a second each time."""
    now = iter(range(10**6))

    def read():
        log.append("clock")
        return float(next(now))

    monkeypatch.setattr(module, "perf_counter", read)


def test_the_clock_is_read_when_the_gpu_has_nothing_to_do(log, monkeypatch):
    clock(monkeypatch, harness, log)
    assert harness._time(lambda: log.append("call"), 2, CUDA) == 1.0
    assert log == ["synchronize", "clock", "call", "call", "synchronize", "clock"]


def test_every_sample_of_a_case_waits(log, monkeypatch):
    clock(monkeypatch, harness, log)
    # Faster than what needs no calls before each turn, so that these are timed too.
    monkeypatch.setattr(harness, "_WARMED", 10.0)
    providers = {name: lambda: lambda: log.append("call") for name in ("ours", "theirs")}
    case = Case("family", "case", {}, providers, memory=False)
    records = run(case, Budget(1e9, (3, 3), 0.0), None, {}, CUDA)
    assert [record.rounds for record in records] == [3, 3]
    readings = [place for place, what in enumerate(log) if what == "clock"]
    for start, end in pairwise(readings):
        if "call" in log[start:end]:
            assert log[start - 1] == "synchronize"
            assert log[end - 1] == "synchronize"
    # The first call of each, repeats, slowness, and in every round the turn and what comes before.
    assert log.count("call") == 2 * (1 + 1 + 1 + 3 * 2)
    assert log.count("synchronize") == 2 * 2 * (1 + 1 + 3 * 2)


def test_memory_is_the_peak_between_a_reset_and_the_end_of_the_call(log):
    class Result:
        def __del__(self):
            log.append("freed")

    assert CUDA.peak_extra_bytes(Result) == 250
    steps = ["collect", "synchronize", "reset_peak_memory_stats", "memory_allocated"]
    assert log == [*steps, "synchronize", "max_memory_allocated", "freed"]


def test_what_a_recording_keeps_counts_as_its_memory(log):
    calls = []
    recorded = Recorded(lambda: calls.append(1), CUDA, before=3)
    assert (len(calls), recorded.held_bytes) == (4, 250)
    case = Case("family", "case", {}, {"ours": lambda: recorded, "theirs": lambda: lambda: None})
    ours, theirs = run(case, ONCE, None, {}, CUDA)
    assert (ours.memory_bytes, theirs.memory_bytes) == (500, 250)


def test_whoever_needs_more_memory_than_there_is_is_listed_with_the_reason(log):
    def too_large():
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 40 GiB. More words")

    providers = {
        "ours": lambda: lambda: torch.ones(2),
        "in its call": lambda: too_large,
        "in its setup": too_large,
        "other": lambda: lambda: torch.ones(2),
    }
    case = Case("family", "case", {}, providers, difference=harness.relative_difference)
    ours, *failed, other = run(case, ONCE, None, {}, CUDA)
    assert [record.error for record in failed] == ["CUDA out of memory"] * 2
    assert (ours.error, other.error, other.difference) == (None, None, 0.0)


@pytest.fixture
def recorder(log, monkeypatch):
    """Stands in for CUDA graphs and the GPU's properties; graphs tell of their replays."""
    clock(monkeypatch, devices, log)
    graphs = []

    class Graph:
        def __init__(self):
            self.calls = 0
            graphs.append(self)

        def replay(self):
            log.append("replay")

    @contextmanager
    def record(graph, stream):
        log.append("record")
        yield
        log.append("recorded")

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", record)
    monkeypatch.setattr(torch.cuda, "Stream", lambda _: None)
    monkeypatch.setattr(torch.cuda, "stream", lambda _: nullcontext())
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: log.append("empty_cache"))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: PROPERTIES)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (2**22, 2**23))
    return graphs


def test_a_probe_is_recorded_and_each_replay_timed_to_its_end(log, recorder):
    # The clock goes on by a second a reading: a replay takes one, its four calls a quarter each.
    assert CUDA._best_time(lambda: log.append("call"), 4, 0.5) == 0.25
    assert log[:2] == ["call", "synchronize"]
    assert log[2:8] == ["record", "call", "call", "call", "call", "recorded"]
    assert log[8:] == ["clock", "synchronize", "clock", "replay", "synchronize", "clock", "clock"]


def test_peaks_are_those_of_l2_dram_and_products_in_three_types(log, recorder, monkeypatch):
    monkeypatch.setattr(devices, "_SIDE", 8)
    before = torch.backends.cuda.matmul.fp32_precision
    products, sizes = [], []
    mm = torch.mm

    def spy(a, b, out):
        products.append((a.dtype, torch.backends.cuda.matmul.fp32_precision))
        return mm(a, b, out=out)

    bandwidth = Cuda._bandwidth
    monkeypatch.setattr(torch, "mm", spy)
    monkeypatch.setattr(Cuda, "_bandwidth", lambda *a: sizes.append(a[1]) or bandwidth(*a))
    with stand_in():
        peaks = CUDA.peaks(0.1)
    assert torch.backends.cuda.matmul.fp32_precision == before
    assert dict.fromkeys(products) == dict.fromkeys(
        [(torch.float32, "ieee"), (torch.float32, "tf32"), (torch.bfloat16, "ieee")]
    )
    # Half the L2; half of what is free, as 1 GiB is not.
    assert sizes == [2**15, 2**21]
    assert peaks.caches == {"L2": 2**16}
    # A replay takes a second here: 20 copies of half the L2, and 4 products.
    assert peaks.bandwidth == {"L2": 20 * 2**15, "DRAM": 20 * 2**21}
    assert peaks.products == dict.fromkeys(("fp32", "tf32", "bf16"), 4 * 2 * 8**3)
    assert peaks.flops == peaks.products["fp32"]


def test_three_products_in_tf32_stand_for_one_in_fp32(recorder, monkeypatch):
    found = {"ieee": 1.0, "tf32": 6.0}
    monkeypatch.setattr(Cuda, "_products", lambda _, dtype, precision, __: found[precision])
    monkeypatch.setattr(Cuda, "_bandwidth", lambda *_: 1.0)
    assert CUDA.peaks().flops == 2.0


def test_floors_of_a_gpu_know_two_levels_and_the_peak_of_bfloat16():
    gpu = Peaks({"L2": 100}, {"L2": 10.0, "DRAM": 2.0}, 5.0, {"fp32": 5.0, "bf16": 50.0})
    assert [gpu.level(Work(size)) for size in (100, 101)] == ["L2", "DRAM"]
    assert gpu.seconds(Work(100)) == 10
    assert gpu.seconds(Work(200)) == 100
    assert gpu.seconds(Work(0, cached=500)) == 50
    assert gpu.seconds(Work(0, flops=100)) == 20
    assert gpu.seconds(Work(0, bfloat16=100)) == 2
    cpu = Peaks({"L2": 1, "L3": 2}, {"L2": 1, "L3": 1, "DRAM": 1}, 5.0)
    assert cpu.seconds(Work(0, bfloat16=100)) == 10
    assert cpu.floor([(Work(0, flops=8, bfloat16=4), 3)])["flops"] == 30


def test_the_environment_names_the_gpu_with_or_without_the_drivers_tool(recorder, monkeypatch):
    def smi(command, **_):
        assert command[:2] == ["nvidia-smi", "--id=GPU-0000-1"]
        return SimpleNamespace(stdout="580.65, 700.00 W, 1980 MHz\n")

    monkeypatch.setattr(devices.subprocess, "run", smi)
    about = CUDA.environment()["device"]
    assert (about["name"], about["capability"], about["multiprocessors"]) == ("a GPU", "9.0", 132)
    assert (about["memory"], about["L2"], about["cuda"]) == (80 * 10**9, 2**16, torch.version.cuda)
    assert about["kernels"]
    wanted = {"driver": "580.65", "power limit": "700.00 W", "clock": "1980 MHz"}
    assert about.items() > wanted.items()

    def missing(*_, **__):
        raise FileNotFoundError("nvidia-smi")

    monkeypatch.setattr(devices.subprocess, "run", missing)
    assert CUDA.environment()["device"].keys() == about.keys() - wanted.keys()


def test_time_of_an_operator_is_the_devices():
    event = SimpleNamespace(cpu_time_total=5e6, device_time_total=3e6)
    assert (CPU.seconds_in(event), CUDA.seconds_in(event)) == (5.0, 3.0)


def test_a_place_has_its_device():
    assert isinstance(device_at(torch.device("cpu")), Cpu)
    assert device_at(THERE).place == THERE
    assert Context().device == CPU.place
    assert CPU.environment() == {}


@pytest.mark.parametrize(
    ("available", "built", "given", "reason"),
    [
        (False, True, "cuda", f"torch {torch.__version__} finds no CUDA device"),
        (True, True, "cuda:7", "torch finds 1 CUDA devices"),
        (True, False, "cuda", "this build of rlmrec_fast has no CUDA kernels"),
        (True, True, "tpu", "--device must be cpu or cuda (got 'tpu')"),
    ],
)
def test_without_a_gpu_one_line_says_so_and_nothing_is_measured(
    available, built, given, reason, monkeypatch, capsys
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: int(available))
    monkeypatch.setattr(model, "build_info", lambda: {"cuda": built})
    monkeypatch.setattr("bench.__main__.measure", lambda *_: pytest.fail("measured"))
    assert main(["bpr", "--device", given]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert reason in said.err


def test_a_gpu_is_measured_on_itself(monkeypatch):
    asked = []
    monkeypatch.setattr("bench.__main__.parse_device", torch.device)
    monkeypatch.setattr("bench.__main__.keep_freed_memory", lambda: None)
    monkeypatch.setattr("bench.__main__.measure", lambda _, context, *__: asked.append(context))
    monkeypatch.setattr(torch.cuda, "set_device", asked.append)
    assert main(["bpr", "--device", "cuda", "--threads", "1"]) == 0
    place, context = asked
    assert place == context.device == THERE


def test_peaks_and_records_of_a_real_gpu(request, capsys):
    if request.config.getoption("--device") != "cuda":
        pytest.skip("needs --device cuda")
    (record, *_) = measure(["bpr"], Context("tiny", 1, compile=False, device=THERE))
    found = record["environment"]["peaks"]
    rates = [found["flops"], *found["bandwidth"].values(), *found["products"].values()]
    assert min(rates) > 1e9
    assert found["bandwidth"]["L2"] > found["bandwidth"]["DRAM"]
    assert record["environment"]["device"]["name"] == torch.cuda.get_device_name(THERE)
    assert record["memory_bytes"] > 0
