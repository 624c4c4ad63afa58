"""Checkpoints: safetensors files that are either whole or refused.

`last.safetensors` is the one file that a resumed run starts from. It holds the parameters, Adam's
state, the counters of the loop and the best parameters so far, and it is replaced in a single
step. A run killed at any moment is therefore consistent: nothing else has to agree with it, and
`best.safetensors`, which inference reads, can be written again from it.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from rlmrec_fast.training.files import writing_aside

FORMAT = 2
"""Raised whenever stored names change: 2 puts the backbone's under `backbone.`."""
_ADAM = ("step", "exp_avg", "exp_avg_sq")
Tensors = dict[str, Tensor]


@dataclass
class TrainingState:
    """Where a run stands after an epoch.

    Attributes:
        epoch: epochs done.
        best_epoch: the epoch with the best validation metric, 0 before the first evaluation.
        best_metrics: the validation metrics of that epoch.
        bad_evaluations: evaluations since then.
        seconds: wall-clock time spent so far, all sittings together.
    """

    epoch: int = 0
    best_epoch: int = 0
    best_metrics: dict[str, float] = field(default_factory=dict)
    bad_evaluations: int = 0
    seconds: float = 0.0


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Writes tensors and JSON metadata as one safetensors file, aside and then renamed."""
    stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    header = {"format": FORMAT, **metadata}
    header["crc32"] = _checksum(stored, header)
    with writing_aside(path) as aside:
        save_file(stored, aside, metadata={"rlmrec_fast": json.dumps(header)})


def load_tensors(path: Path) -> tuple[Tensors, dict[str, Any]]:
    """Reads what `save_tensors` wrote.

    Returns:
        The tensors, on the CPU, and the metadata.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is truncated, damaged, or not one of this package's checkpoints.
    """
    if not path.is_file():
        raise FileNotFoundError(f"checkpoint: {path} must exist (got no such file)")
    try:
        with safe_open(path, framework="pt") as file:
            header = dict(json.loads((file.metadata() or {})["rlmrec_fast"]))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"checkpoint: {path} must be a whole checkpoint of rlmrec_fast (got {error!r})"
        ) from None
    if header.get("format") != FORMAT:
        raise ValueError(
            f"checkpoint: {path} must have format {FORMAT} (got {header.get('format')})"
        )
    if header.pop("crc32", None) != _checksum(tensors, header):
        raise ValueError(f"checkpoint: {path} must match its checksum (got a damaged file)")
    return tensors, header


def save_last(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Adam,
    state: TrainingState,
    best: Mapping[str, Tensor],
    identity: str,
) -> None:
    """Writes everything that a resumed run needs.

    Args:
        path: file to replace.
        model: its `state_dict` is stored.
        optimizer: Adam over the model's parameters.
        state: the counters of the loop.
        best: `state_dict` of the best epoch so far; empty before the first evaluation.
        identity: hash of the settings and the data.
    """
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        for key in _ADAM if parameter in optimizer.state else ():
            tensors[f"adam.{key}.{name}"] = optimizer.state[parameter][key]
    if state.best_epoch != state.epoch:
        tensors |= {f"best.{name}": tensor for name, tensor in best.items()}
    save_tensors(path, tensors, {"identity": identity, "state": asdict(state)})


def load_last(
    path: Path, model: nn.Module, optimizer: torch.optim.Adam, identity: str
) -> tuple[TrainingState, Tensors]:
    """Puts a model and its optimizer back to where `save_last` found them.

    Returns:
        The counters of the loop, and the best parameters so far.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or belongs to other settings, other data or another model.
    """
    tensors, header = load_tensors(path)
    require_identity(path, header, identity)
    state = TrainingState(**header["state"])
    load_model(path, model, _part(tensors, "model."))
    adam = {key: _part(tensors, f"adam.{key}.") for key in _ADAM}
    states = {
        index: {key: adam[key][name] for key in _ADAM}
        for index, (name, _) in enumerate(model.named_parameters())
        if name in adam["step"]
    }
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": states, "param_groups": groups})
    is_best = state.best_epoch == state.epoch
    return state, _part(tensors, "model." if is_best else "best.")


def load_best(path: Path, model: nn.Module, identity: str) -> dict[str, Any]:
    """Puts the best parameters of a run into a model.

    Returns:
        The file's metadata: `epoch` and its `validation` metrics.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or belongs to other settings, other data or another model.
    """
    tensors, header = load_tensors(path)
    require_identity(path, header, identity)
    load_model(path, model, tensors)
    return header


def load_best_part(path: Path, name: str, part: nn.Module, identity: str) -> dict[str, Any]:
    """Puts the best parameters of one part of a model into it, and leaves the others unread.

    Args:
        path: file that holds the whole model's `state_dict`.
        name: the attribute of the model that the part is.
        part: the part to fill.
        identity: hash of the settings and the data.

    Returns:
        The file's metadata: `epoch` and its `validation` metrics.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or belongs to other settings, other data or another model.
    """
    tensors, header = load_tensors(path)
    require_identity(path, header, identity)
    load_model(path, part, _part(tensors, f"{name}."))
    return header


def load_model(path: Path, model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Copies stored tensors into a model.

    Raises:
        ValueError: names or shapes differ; the message names the first that does.
    """
    own = model.state_dict()
    for name in sorted(own.keys() | tensors.keys()):
        expected = tuple(own[name].shape) if name in own else None
        stored = tuple(tensors[name].shape) if name in tensors else None
        if expected != stored:
            raise ValueError(f"checkpoint: {path}: {name} must be {expected} (got {stored})")
    model.load_state_dict(dict(tensors))


def require_identity(path: Path, header: Mapping[str, Any], identity: str) -> None:
    """Refuses a checkpoint of other settings or data.

    Raises:
        ValueError: the identities differ.
    """
    if header.get("identity") != identity:
        raise ValueError(
            f"checkpoint: {path} must belong to the settings and data in config.yaml beside it "
            f"(got {header.get('identity')} instead of {identity})"
        )


def _part(tensors: Mapping[str, Tensor], prefix: str) -> Tensors:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


def _checksum(tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> int:
    checksum = zlib.crc32(json.dumps(header).encode())
    for name in sorted(tensors):
        checksum = zlib.crc32(name.encode(), checksum)
        checksum = zlib.crc32(tensors[name].reshape(-1).view(torch.uint8).numpy().data, checksum)
    return checksum
