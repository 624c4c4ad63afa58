"""Measures the providers of a case against each other.

All providers of a case are set up in one process and take turns: a round times each once, and the
next round starts with another one. So whatever else the machine does falls on all of them, and the
ratio of two providers is the median of their ratios within the rounds. A sample repeats the call
until it lasts long enough for the clock; calls before it, not timed, wake the threads and clear the
caches of the tables of whoever went before. The clock is read when the device has nothing left to
do.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import median, quantiles
from time import perf_counter
from typing import Any, Protocol, runtime_checkable

import torch

from bench.device import CPU, Device
from bench.floor import Peaks, Work
from rlmrec_fast.memory import settled

# Seconds of calls before each turn, at least one; none where one call takes as many as the second.
_WARM_UP, _WARMED = 0.005, 0.3

Call = Callable[[], Any]
Setup = Callable[[], Call]


class UnavailableError(Exception):
    """A provider cannot run here; the message says why."""


@runtime_checkable
class Sampled(Protocol):
    """A call that times itself, because it runs elsewhere."""

    def __call__(self) -> Any: ...

    def sample(self, repeats: int) -> float:
        """Seconds for a number of calls."""
        ...


class Recorded:
    """A call that records its work once, and from then on replays it in memory of its own.

    Args:
        call: the call.
        device: where it works.
        before: how often it is made before it records.
    """

    def __init__(self, call: Call, device: Device, before: int = 0) -> None:
        for _ in range(before):
            call()
        self.call = call
        self.held_bytes = device.peak_extra_bytes(call) or 0
        """The most that the recording call needed, of which replays ask for no more."""

    def __call__(self) -> Any:
        return self.call()


@dataclass(frozen=True)
class Case:
    """One question, and who answers it.

    Attributes:
        family: the file that it is in.
        name: what is measured.
        setting: sizes and options, as data.
        providers: name -> setup, which returns the call to be timed. The first one is ours.
        targets: provider -> how many times faster than it ours is meant to be, at least.
        floor: the work that nobody can avoid, and how often.
        difference: how far another provider's result is from ours; None where they cannot agree,
            such as with random numbers of their own.
        details: provider -> further facts, found after the timing.
        memory: whether peak memory is measured.
        host: providers that work on the CPU by nature, so that a GPU has nothing to do with them.
    """

    family: str
    name: str
    setting: Mapping[str, Any]
    providers: Mapping[str, Setup]
    targets: Mapping[str, float] = field(default_factory=dict)
    floor: Sequence[tuple[Work, float]] = ()
    difference: Callable[[Any, Any], float] | None = None
    details: Mapping[str, Callable[[], dict[str, Any]]] = field(default_factory=dict)
    memory: bool = True
    host: Collection[str] = ()

    def on(self, place: torch.device) -> tuple[Case, list[str]]:
        """The case as it is measured on a device, and the providers that are left out there."""
        left_out = [] if place.type == "cpu" else [n for n in self.providers if n in self.host]
        kept = {name: self.providers[name] for name in self.providers if name not in left_out}
        return replace(self, providers=kept), left_out


@dataclass(frozen=True)
class Budget:
    """How long to measure one case: rounds until the time is up, within bounds.

    Attributes:
        seconds: for the rounds of a case; setup, warm-up and memory come on top.
        rounds: fewest and most rounds.
        sample: seconds that a sample lasts at least.
    """

    seconds: float
    rounds: tuple[int, int]
    sample: float


FULL = Budget(20.0, (7, 101), 0.01)
QUICK = Budget(1.5, (3, 21), 0.002)
ONCE = Budget(0.0, (1, 1), 0.0)


@dataclass(frozen=True)
class Record:
    """What is known about one provider of one case. Times are of one call.

    Attributes:
        family, case, provider, setting, target: as in `Case`.
        median_ms, p20_ms, p80_ms: quantiles over the rounds.
        rounds: how many.
        repeats: calls in a sample.
        ratio, ratio_p20, ratio_p80: time over ours, quantiles of the ratios within rounds.
        memory_bytes: peak extra memory of one call, the result included.
        difference: largest relative difference from our result.
        floor: bytes, flops, level and floor time of the case; with ours only.
        details: further facts.
        error: why there is no measurement.
        environment: machine, versions, commit.
    """

    family: str
    case: str
    provider: str
    setting: dict[str, Any]
    ours: bool
    environment: dict[str, Any]
    median_ms: float | None = None
    p20_ms: float | None = None
    p80_ms: float | None = None
    rounds: int = 0
    repeats: int = 0
    ratio: float | None = None
    ratio_p20: float | None = None
    ratio_p80: float | None = None
    target: float | None = None
    memory_bytes: int | None = None
    difference: float | None = None
    floor: dict[str, Any] | None = None
    details: dict[str, Any] = field(default_factory=dict)
    error: str | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def run(
    case: Case,
    budget: Budget,
    peaks: Peaks | None,
    environment: dict[str, Any],
    device: Device = CPU,
) -> list[Record]:
    """Measures a case, whose providers all work on the device.

    Returns:
        A record for each provider, in the order of the case.
    """
    calls, errors = _set_up(case)
    differences = _warm_up(case, calls, errors)
    with settled():
        repeats = {name: _repeats(call, budget.sample, device) for name, call in calls.items()}
        times = _rounds(calls, repeats, budget, device)
    ours = next(iter(case.providers))
    records = []
    for name in case.providers:
        facts: dict[str, Any] = {"error": errors.get(name), "target": case.targets.get(name)}
        if name in calls:
            facts |= _quantiles("", [t * 1e3 for t in times[name]], "_ms")
            facts |= {"rounds": len(times[name]), "repeats": repeats[name]}
            memory = _memory(calls[name], times[name], device) if case.memory else None
            facts |= {"memory_bytes": memory}
            facts |= {"difference": differences.get(name)}
            facts |= {"details": case.details[name]()} if name in case.details else {}
        if name in calls and ours in calls and name != ours:
            pairs = zip(times[name], times[ours], strict=True)
            facts |= _quantiles("ratio", [theirs / own for theirs, own in pairs], "")
        if name == ours and name in calls and case.floor and peaks is not None:
            floor = peaks.floor(case.floor)
            facts["floor"] = {**floor, "share": floor["ms"] / facts["median_ms"]}
        setting, is_ours = dict(case.setting), name == ours
        records.append(Record(case.family, case.name, name, setting, is_ours, environment, **facts))
    return records


def _set_up(case: Case) -> tuple[dict[str, Call], dict[str, str]]:
    calls: dict[str, Call] = {}
    errors: dict[str, str] = {}
    for name, setup in case.providers.items():
        try:
            calls[name] = setup()
        except UnavailableError as error:
            errors[name] = str(error)
        except torch.OutOfMemoryError as error:
            errors[name] = _too_large(error)
    return calls, errors


def _warm_up(case: Case, calls: dict[str, Call], errors: dict[str, str]) -> dict[str, float]:
    """Calls everybody once; how far each result is from ours, where that can be said.

    Whoever needs more memory than the GPU has goes from the calls to the errors.
    """
    results: dict[str, Any] = {}
    for name, call in list(calls.items()):
        try:
            results[name] = call()
        except torch.OutOfMemoryError as error:
            errors[name] = _too_large(error)
            del calls[name]
    ours = next(iter(case.providers))
    if case.difference is None or ours not in results:
        return {}
    own = results.pop(ours)
    return {name: case.difference(own, result) for name, result in results.items()}


def _too_large(error: torch.OutOfMemoryError) -> str:
    """The first sentence: what could not be allocated."""
    return str(error).split(". ")[0]


def _time(call: Call, repeats: int, device: Device) -> float:
    if isinstance(call, Sampled):
        return call.sample(repeats)
    device.synchronize()
    start = perf_counter()
    for _ in range(repeats):
        call()
    device.synchronize()
    return perf_counter() - start


def _repeats(call: Call, sample: float, device: Device) -> int:
    return _repeats_of(_time(call, 1, device), sample)


def _repeats_of(once: float, sample: float) -> int:
    return max(1, min(10_000, round(sample / max(once, 1e-7))))


def _rounds(
    calls: Mapping[str, Call], repeats: Mapping[str, int], budget: Budget, device: Device
) -> dict[str, list[float]]:
    """Seconds of one call, provider -> one value per round."""
    names = list(calls)
    times: dict[str, list[float]] = {name: [] for name in names}
    slow = {name: _time(call, 1, device) for name, call in calls.items()}
    least, most = budget.rounds
    end = perf_counter() + budget.seconds
    for number in range(most):
        if number >= least and perf_counter() > end:
            break
        for name in _rotated(names, number):
            if slow[name] < _WARMED:
                _time(calls[name], _repeats_of(slow[name], _WARM_UP), device)
            times[name].append(_time(calls[name], repeats[name], device) / repeats[name])
    return times


def _rotated(names: Sequence[str], by: int) -> Iterator[str]:
    for index in range(len(names)):
        yield names[(index + by) % len(names)]


def _quantiles(name: str, values: Sequence[float], unit: str) -> dict[str, float]:
    low, high = values[0], values[0]
    if len(values) > 1:
        low, *_, high = quantiles(values, n=5, method="inclusive")
    middle = f"{name or 'median'}{unit}"
    prefix = f"{name}_" if name else ""
    return {middle: median(values), f"{prefix}p20{unit}": low, f"{prefix}p80{unit}": high}


def _memory(call: Call, times: Sequence[float], device: Device) -> int | None:
    """The least of three measurements, one of slow calls: left-over pages only ever add."""
    held = call.held_bytes if isinstance(call, Recorded) else 0
    found = [device.peak_extra_bytes(call) for _ in range(3 if median(times) < 0.3 else 1)]
    known = [value for value in found if value is not None]
    return held + min(known) if known else None


def relative_difference(ours: Any, theirs: Any) -> float:
    """Largest difference of two tensors, or tuples of them, over the largest magnitude of ours."""
    if isinstance(ours, dict):
        ours, theirs = list(ours.values()), [theirs[key] for key in ours]
    if isinstance(ours, (tuple, list)):
        pairs = zip(ours, theirs, strict=True)
        return max(relative_difference(mine, other) for mine, other in pairs)
    if isinstance(ours, float):
        return float(abs(ours - theirs) / max(abs(ours), 1e-30))
    mine, other = ours.detach().double(), theirs.detach().double()
    if not mine.numel():
        return 0.0
    return float((mine - other).abs().max() / mine.abs().max().clamp(min=1e-30))
