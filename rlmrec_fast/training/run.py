"""A run folder: what was trained, on what, how it went, and the checkpoints.

- `config.yaml`: settings, preset, data set with its fingerprint, versions.
- `metrics.jsonl`: one line per epoch.
- `last.safetensors`: what a resumed run starts from.
- `best.safetensors`: the parameters of the best epoch, which inference reads.
- `train.log`: what was printed, with times.
- `result.json`: test metrics; present once the run is finished.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from scipy import sparse

from rlmrec_fast._version import __version__
from rlmrec_fast.training.files import ASIDE_PATTERN, write_text
from rlmrec_fast.training.settings import Settings

SPLITS = ("train", "validation", "test")
VECTORS = ("user_vectors", "item_vectors")


class Fingerprint(BaseModel):
    """What tells one data set from another: its sizes and a hash of each matrix.

    Text vectors are hashed where they are trained with, and are None elsewhere.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    users: int
    items: int
    train: str
    validation: str
    test: str
    user_vectors: str | None = None
    item_vectors: str | None = None

    @classmethod
    def of(cls, dataset: Any, texts: bool = False) -> Fingerprint:
        """The fingerprint of a data set.

        Args:
            dataset: has matrices `train`, `validation` and `test`.
            texts: whether its `user_vectors` and `item_vectors` count.
        """
        users, items = dataset.train.shape
        hashes: dict[str, Any] = {split: _hash(getattr(dataset, split)) for split in SPLITS}
        for name in VECTORS if texts else ():
            hashes[name] = _hash_vectors(getattr(dataset, name))
        return cls(users=users, items=items, **hashes)

    def differences(self, other: Fingerprint) -> list[str]:
        """The names of the fields in which two data sets differ."""
        fields = type(self).model_fields
        return [name for name in fields if getattr(self, name) != getattr(other, name)]


class DataReference(BaseModel):
    """The data set that a run was trained on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    path: str
    fingerprint: Fingerprint

    def check(self, dataset: Any, texts: bool = True) -> None:
        """Refuses a data set other than this one.

        Args:
            dataset: the data set.
            texts: whether text vectors count, if they were trained with; not so at inference,
                where they play no part.

        Raises:
            ValueError: sizes, matrices or vectors differ; the message says which.
        """
        own = self.fingerprint
        if not texts:
            own = own.model_copy(update=dict.fromkeys(VECTORS))
        differences = own.differences(Fingerprint.of(dataset, own.user_vectors is not None))
        if differences:
            raise ValueError(
                f"run: the data set must be the one trained on, {self.name} from {self.path} "
                f"(got {dataset.name}, which differs in: {', '.join(differences)})"
            )


class RunConfig(BaseModel):
    """The contents of `config.yaml`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    settings: Settings
    preset: str
    data: DataReference
    versions: dict[str, str]

    @classmethod
    def of(cls, settings: Settings, preset: str, dataset: Any, path: Path) -> RunConfig:
        """Describes a run about to start on a data set loaded from `path`."""
        fingerprint = Fingerprint.of(dataset, texts=settings.align != "none")
        data = DataReference(name=dataset.name, path=str(path.resolve()), fingerprint=fingerprint)
        versions = {
            "rlmrec_fast": __version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        }
        return cls(settings=settings, preset=preset, data=data, versions=versions)

    def check(self, settings: Settings, dataset: Any) -> None:
        """Refuses settings or data other than the run's.

        Raises:
            ValueError: they differ; the message says in what.
        """
        own, given = self.settings.used(), settings.used()
        for name in own | given:
            if own.get(name) != given.get(name):
                raise ValueError(
                    f"run: {name} must be {own.get(name)} as in the run (got {given.get(name)})"
                )
        self.data.check(dataset)

    @property
    def identity(self) -> str:
        """A hash of all that decides the run's result: settings and data."""
        text = self.settings.digest() + self.data.fingerprint.model_dump_json(exclude_none=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class RunFolder:
    """A run folder on disk. Use as a context manager: writers hold a lock until it closes.

    Attributes:
        path: the folder.
        config: the contents of `config.yaml`.
    """

    def __init__(self, path: Path, config: RunConfig, lock: int | None = None) -> None:
        self.path = path
        self.config = config
        self._lock = lock

    @classmethod
    def create(cls, path: Path | str, config: RunConfig, overwrite: bool = False) -> RunFolder:
        """Starts a run in a new folder, locked for this process.

        Args:
            path: the folder; made with its parents.
            config: what to train, on what.
            overwrite: whether to delete the files of a run that is there already.

        Raises:
            FileExistsError: there is a run already and `overwrite` is false.
            ValueError: another process is training in this folder.
        """
        path = Path(path)
        if not overwrite and (path / "config.yaml").exists():
            raise FileExistsError(
                f"run: {path} must not hold a run already (give --resume to continue it, "
                "--overwrite to replace it, or another --out)"
            )
        path.mkdir(parents=True, exist_ok=True)
        run = cls(path, config, _lock(path))
        try:
            # The result goes first: an interrupted deletion must not be taken for a finished run.
            names = ("result", "last", "best", "metrics", "log")
            for file in (getattr(run, f"{name}_path") for name in names):
                file.unlink(missing_ok=True)
            text = yaml.safe_dump(config.model_dump(exclude_none=True), sort_keys=False)
            write_text(run.config_path, text)
        except BaseException:
            run.close()
            raise
        return run

    @classmethod
    def open(cls, path: Path | str, exclusive: bool = False) -> RunFolder:
        """Opens an existing run.

        Args:
            path: the folder.
            exclusive: whether to lock it for this process, as whoever writes must.

        Raises:
            FileNotFoundError: the folder holds no run.
            ValueError: `config.yaml` is damaged, or (`exclusive`) another process is training here.
        """
        path = Path(path)
        file = path / "config.yaml"
        if not file.is_file():
            raise FileNotFoundError(f"run: {path} must be a run folder (got no config.yaml in it)")
        try:
            config = RunConfig.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
        except (yaml.YAMLError, ValidationError, UnicodeDecodeError) as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"run: {file} must be a run's configuration (got {reason})") from None
        lock = _lock(path) if exclusive else None
        for aside in path.glob(ASIDE_PATTERN) if exclusive else ():
            aside.unlink()
        return cls(path, config, lock)

    def close(self) -> None:
        """Gives the lock back."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def config_path(self) -> Path:
        """Settings, preset, data set, versions."""
        return self.path / "config.yaml"

    @property
    def metrics_path(self) -> Path:
        """One line per epoch."""
        return self.path / "metrics.jsonl"

    @property
    def last_path(self) -> Path:
        """What a resumed run starts from."""
        return self.path / "last.safetensors"

    @property
    def best_path(self) -> Path:
        """The parameters of the best epoch."""
        return self.path / "best.safetensors"

    @property
    def log_path(self) -> Path:
        """What was printed, with times."""
        return self.path / "train.log"

    @property
    def result_path(self) -> Path:
        """Test metrics of a finished run."""
        return self.path / "result.json"

    def append_metrics(self, record: Mapping[str, float]) -> None:
        """Adds the line of one epoch to `metrics.jsonl`."""
        with self.metrics_path.open("ab", buffering=0) as file:
            file.write(json.dumps(dict(record)).encode() + b"\n")

    def read_metrics(self) -> list[dict[str, Any]]:
        """The whole lines of `metrics.jsonl`; what follows a torn one is left out."""
        records: list[dict[str, Any]] = []
        if self.metrics_path.is_file():
            for line in self.metrics_path.read_bytes().splitlines():
                try:
                    records.append(json.loads(line))
                except ValueError:
                    break
        return records

    def keep_metrics(self, epoch: int) -> None:
        """Drops the lines of later epochs, and a torn last line."""
        kept = [record for record in self.read_metrics() if record["epoch"] <= epoch]
        write_text(self.metrics_path, "".join(json.dumps(record) + "\n" for record in kept))

    def log(self, text: str) -> None:
        """Adds lines to `train.log`."""
        time = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
        with self.log_path.open("a", encoding="utf-8") as file:
            file.writelines(f"{time}  {line}\n" for line in text.splitlines())

    def write_result(self, result: Mapping[str, Any]) -> None:
        """Marks the run as finished."""
        write_text(self.result_path, json.dumps(dict(result), indent=2) + "\n")

    def read_result(self) -> dict[str, Any] | None:
        """The result of a finished run, or None.

        Raises:
            ValueError: `result.json` is damaged.
        """
        if not self.result_path.is_file():
            return None
        try:
            return dict(json.loads(self.result_path.read_text(encoding="utf-8")))
        except (TypeError, ValueError) as error:
            raise ValueError(f"run: {self.result_path} must be a result (got {error})") from None


def _lock(path: Path) -> int:
    """Locks a folder; the system gives the lock back when the process ends, however it ends."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise ValueError(
            f"run: {path} must be free (got a lock: another process is training in it)"
        ) from None
    return descriptor


def _hash_vectors(vectors: Any) -> str | None:
    """Depends on the values as they are stored; None for no vectors."""
    if vectors is None:
        return None
    digest = hashlib.sha256(f"{vectors.dtype.name} {vectors.shape}".encode())
    # In blocks: a table may be mapped from disk and larger than memory.
    for start in range(0, len(vectors), 4096):
        digest.update(vectors[start : start + 4096].tobytes())
    return digest.hexdigest()[:16]


def _hash(matrix: Any) -> str:
    rows = sparse.csr_array(matrix, copy=True)
    rows.sum_duplicates()
    rows.eliminate_zeros()
    digest = hashlib.sha256(rows.indptr.astype(np.int64).tobytes())
    digest.update(rows.indices.astype(np.int64).tobytes())
    return digest.hexdigest()[:16]
