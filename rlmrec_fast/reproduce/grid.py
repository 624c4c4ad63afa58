"""The grid: what is to be trained, and what was trained already."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlmrec_fast.data.dataset import Dataset
from rlmrec_fast.training.commands import default_run
from rlmrec_fast.training.model import require_available
from rlmrec_fast.training.presets import choose_preset, preset
from rlmrec_fast.training.run import DataReference, Fingerprint, RunConfig, RunFolder
from rlmrec_fast.training.settings import Settings

REPORT_MODELS = ("lightgcn", "gccf", "sgl", "simgcl", "autocf")
"""The backbones of the report."""


@dataclass(frozen=True)
class Source:
    """A data set of the grid.

    Attributes:
        name: Its name, which tells it from the others.
        path: Its folder.
        dataset: Itself.
        preset: The published settings that it is trained with.
        fingerprints: What tells it from others, with its text vectors (True) and without.
    """

    name: str
    path: Path
    dataset: Dataset
    preset: str
    fingerprints: Mapping[bool, Fingerprint]

    @classmethod
    def load(cls, path: Path, preset_name: str | None) -> Source:
        """Loads a data set.

        Args:
            path: Its folder.
            preset_name: The preset; by the data set's name if None, as `train` does.
        """
        dataset = Dataset.load(path)
        names = [dataset.name, Path(os.path.abspath(path)).name]
        prints = {texts: Fingerprint.of(dataset, texts) for texts in (False, True)}
        return cls(
            dataset.name, path.resolve(), dataset, preset_name or choose_preset(names), prints
        )

    @property
    def has_texts(self) -> bool:
        """Whether there are vectors to align with."""
        return self.dataset.user_vectors is not None and self.dataset.item_vectors is not None


@dataclass(frozen=True)
class Cell:
    """One training run of the grid.

    Attributes:
        source: The data set.
        settings: All that is trained with.
        path: The folder of the run.
        changes: What `train` is told beside data, model, alignment, preset and seed.
    """

    source: Source
    settings: Settings
    path: Path
    changes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """`<data set>-<model>[-<alignment>]-<seed>`."""
        return default_run(self.source.name, self.settings).name

    @property
    def key(self) -> tuple[str, str, str]:
        """Data set, model and alignment: all but the seed."""
        return self.source.name, self.settings.model, self.settings.align

    @property
    def config(self) -> RunConfig:
        """The configuration that its folder must have."""
        prints = self.source.fingerprints[self.settings.align != "none"]
        data = DataReference(name=self.source.name, path=str(self.source.path), fingerprint=prints)
        return RunConfig(settings=self.settings, preset=self.source.preset, data=data, versions={})

    def differences(self, config: RunConfig) -> list[str]:
        """In what a run's configuration is another one."""
        own, other = self.settings.used(), config.settings.used()
        names = [name for name in own | other if own.get(name) != other.get(name)]
        return names + self.config.data.fingerprint.differences(config.data.fingerprint)


def make_grid(
    sources: Sequence[Source],
    models: Sequence[str],
    aligns: Sequence[str],
    seeds: Sequence[int],
    changes: Mapping[str, str],
    out: Path,
) -> list[Cell]:
    """All cells, one seed of everything before the next seed.

    Args:
        sources: The data sets.
        models: Backbones.
        aligns: Alignments.
        seeds: Seeds.
        changes: Settings other than the published ones; each is told to the models that have it.
        out: The folder that gets a folder for every cell.

    Raises:
        ValueError: Something is unknown, empty or given twice, or no model has a setting.
    """
    given: dict[str, Sequence[Any]] = {
        "--data": [source.name for source in sources],
        "--models": models,
        "--align": aligns,
        "--seeds": seeds,
    }
    for name, values in given.items():
        if not values or len(set(values)) != len(values):
            raise ValueError(f"{name} must name each thing once (got {_listed(values)})")
    for model in models:
        for align in aligns:
            require_available(model, align)
    unused = set(changes)
    cells = []
    for seed in seeds:
        for source in sources:
            for model in models:
                for align in aligns:
                    known = preset(model, align, source.preset)
                    own = {name: value for name, value in changes.items() if name in known}
                    unused -= set(own)
                    told: dict[str, Any] = {**own, "seed": seed}
                    settings = Settings.of(model, align, source.preset, told)
                    cells.append(Cell(source, settings, _folder(out, source, settings), own))
    if unused:
        raise ValueError(f"--set: no model of the grid has {_listed(sorted(unused))}")
    return cells


def _folder(out: Path, source: Source, settings: Settings) -> Path:
    return out / default_run(source.name, settings).name


def _listed(values: Iterable[Any]) -> str:
    return " ".join(map(str, values)) or "nothing"


@dataclass(frozen=True)
class Found:
    """A finished run that serves as a cell.

    Attributes:
        path: Its folder.
        result: Its `result.json`.
    """

    path: Path
    result: Mapping[str, Any]


def find_result(cell: Cell) -> Found | None:
    """The cell's own folder, if the run in it is finished.

    Raises:
        ValueError: There is another run in it, or it is damaged.
    """
    if not (cell.path / "config.yaml").is_file():
        return None
    run = RunFolder.open(cell.path)
    differences = cell.differences(run.config)
    if differences:
        raise ValueError(
            f"reproduce: {cell.path} must hold a run with the settings and data asked for (got"
            f" another {', '.join(differences)}); give another --out, or delete it"
        )
    result = run.read_result()
    return None if result is None else Found(cell.path, result)


def find_elsewhere(
    cells: Sequence[Cell], folders: Sequence[Path]
) -> tuple[dict[str, Found], list[str]]:
    """Finished runs among some folders that serve as cells.

    Args:
        cells: The cells.
        folders: Run folders, or folders of run folders. They are only read.

    Returns:
        Cell's name -> run, and a line for every finished run of the same data set, model,
        alignment and seed that is another one.

    Raises:
        FileNotFoundError: A folder is not there.
        ValueError: A run is damaged.
    """
    found: dict[str, Found] = {}
    notes = []
    for path in _run_folders(folders):
        run = RunFolder.open(path)
        result = run.read_result()
        if result is None:
            continue
        for cell in cells:
            other = run.config.settings
            if [other.model, other.align, other.seed] != [
                cell.settings.model,
                cell.settings.align,
                cell.settings.seed,
            ]:
                continue
            differences = cell.differences(run.config)
            if not differences:
                found.setdefault(cell.name, Found(path, result))
            elif "train" not in differences:
                notes.append(
                    f"{path} does not serve as {cell.name}: another {_listed(differences)}"
                )
    return found, notes


def _run_folders(folders: Sequence[Path]) -> Iterator[Path]:
    for folder in folders:
        if not folder.is_dir():
            raise FileNotFoundError(f"--runs must name folders of runs (got {folder})")
        for path in [folder, *sorted(folder.iterdir())]:
            if (path / "config.yaml").is_file():
                yield path
