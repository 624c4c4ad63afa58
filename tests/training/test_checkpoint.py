from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from rlmrec_fast.training.checkpoint import (
    TrainingState,
    load_best,
    load_best_part,
    load_last,
    load_tensors,
    save_last,
    save_tensors,
)


def model_and_optimizer(seed: int = 0, width: int = 3) -> tuple[nn.Module, torch.optim.Adam]:
    model = nn.Linear(4, width)
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.data.normal_(generator=generator)
    return model, torch.optim.Adam(model.parameters(), fused=True)


def steps(model: nn.Module, optimizer: torch.optim.Adam, count: int) -> None:
    for step in range(count):
        optimizer.zero_grad()
        model(torch.full((2, 4), step + 1.0)).square().sum().backward()
        optimizer.step()


def best_of(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "last.safetensors"


def test_training_goes_on_with_the_same_bits_after_loading(path):
    model, optimizer = model_and_optimizer()
    steps(model, optimizer, 3)
    best = best_of(model)
    steps(model, optimizer, 2)
    state = TrainingState(7, 4, {"recall@20": 0.1 + 0.2}, 1, 3.5)
    save_last(path, model, optimizer, state, best, "me")
    other, other_optimizer = model_and_optimizer(seed=1)
    loaded, loaded_best = load_last(path, other, other_optimizer, "me")
    assert loaded == state
    assert all(torch.equal(loaded_best[name], best[name]) for name in best)
    steps(model, optimizer, 2)
    steps(other, other_optimizer, 2)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name])


def test_the_best_epochs_own_checkpoint_does_not_store_its_weights_twice(path):
    model, optimizer = model_and_optimizer()
    steps(model, optimizer, 1)
    best = best_of(model)
    save_last(path, model, optimizer, TrainingState(3, 3), best, "me")
    assert not any(name.startswith("best.") for name in load_tensors(path)[0])
    _, loaded = load_last(path, model, optimizer, "me")
    steps(model, optimizer, 1)
    assert all(torch.equal(loaded[name], best[name]) for name in best)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_file_is_refused_by_name(path, share):
    save_tensors(path, {"x": torch.arange(100.0)}, {})
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(ValueError, match=r"last\.safetensors must be a whole checkpoint"):
        load_tensors(path)


def test_no_single_damaged_byte_goes_unnoticed(path):
    save_tensors(path, {"x": torch.arange(8.0), "y": torch.ones(2, dtype=torch.int64)}, {"n": 1})
    data = path.read_bytes()
    for position in range(len(data)):
        path.write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
        with pytest.raises(ValueError, match=r"last\.safetensors must"):
            load_tensors(path)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"\x00" * 64, b"\xff" * 64])
def test_what_is_no_checkpoint_is_refused(path, content):
    path.write_bytes(content)
    with pytest.raises(ValueError, match="must be a whole checkpoint of rlmrec_fast"):
        load_tensors(path)


def test_a_foreign_safetensors_file_is_refused(path):
    save_file({"x": torch.ones(2)}, path)
    with pytest.raises(ValueError, match="must be a whole checkpoint of rlmrec_fast"):
        load_tensors(path)
    save_file({"x": torch.ones(2)}, path, metadata={"rlmrec_fast": json.dumps({"format": 99})})
    with pytest.raises(ValueError, match=r"must have format 2 \(got 99\)"):
        load_tensors(path)


def test_a_missing_file_is_told(path):
    with pytest.raises(FileNotFoundError, match=r"last\.safetensors must exist"):
        load_tensors(path)


def test_a_checkpoint_of_another_run_or_model_is_refused(path):
    model, optimizer = model_and_optimizer()
    steps(model, optimizer, 1)
    save_last(path, model, optimizer, TrainingState(1), {}, "me")
    with pytest.raises(ValueError, match=r"must belong to the settings and data in config\.yaml"):
        load_last(path, model, optimizer, "you")
    other, other_optimizer = model_and_optimizer(width=5)
    with pytest.raises(ValueError, match=r"bias must be \(5,\) \(got \(3,\)\)"):
        load_last(path, other, other_optimizer, "me")
    best = path.with_name("best.safetensors")
    save_tensors(best, model.state_dict() | {"more": torch.ones(1)}, {"identity": "me"})
    with pytest.raises(ValueError, match=r"more must be None \(got \(1,\)\)"):
        load_best(best, model, "me")
    with pytest.raises(ValueError, match="must belong to"):
        load_best(best, model, "you")


def test_a_part_of_the_best_model_is_loaded_by_itself(path):
    whole, part = nn.ModuleDict(), nn.Linear(4, 3)
    whole["first"], whole["second"] = (model_and_optimizer(seed)[0] for seed in (1, 2))
    save_tensors(path, whole.state_dict(), {"identity": "me", "epoch": 6})
    assert load_best_part(path, "second", part, "me")["epoch"] == 6
    assert torch.equal(part.weight, whole["second"].weight)
    with pytest.raises(ValueError, match="must belong to"):
        load_best_part(path, "second", part, "you")
    with pytest.raises(ValueError, match=r"bias must be \(5,\) \(got \(3,\)\)"):
        load_best_part(path, "first", nn.Linear(4, 5), "me")
    with pytest.raises(ValueError, match=r"bias must be \(3,\) \(got None\)"):
        load_best_part(path, "third", part, "me")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(path, monkeypatch):
    save_tensors(path, {"x": torch.ones(2)}, {})
    before = path.read_bytes()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        save_tensors(path, {"x": torch.zeros(2)}, {})
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
