"""The analysis pages of a study, one for every data set and backbone."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rlmrec_fast.reproduce.grid import Cell, Found
from rlmrec_fast.training.files import write_text

PAGE = "index.html"


def make_pages(
    cells: Sequence[Cell], finished: Mapping[str, Found], out: Path, method: str
) -> tuple[dict[str, str], dict[str, str]]:
    """Has `rlmrec-fast analyze` write what is not there yet.

    The runs of one data set and backbone share a page. A page that was made from the very same runs
    stays.

    Args:
        cells: The grid.
        finished: Cell's name -> finished run.
        out: The folder of the study.
        method: Of the maps: `umap`, `pca` or `pacmap`.

    Returns:
        Cell's name -> page, relative to `out`, and page's name -> why it could not be made.
    """
    pages: dict[str, str] = {}
    failed: dict[str, str] = {}
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        if cell.name in finished and cell.source.dataset.item_vectors is not None:
            groups.setdefault(f"{cell.source.name}-{cell.settings.model}", []).append(cell)
    for name, own in groups.items():
        folder = out / "analysis" / name
        reason = _make(folder, own, finished, method)
        if reason is None:
            path = (folder / PAGE).relative_to(out).as_posix()
            pages |= dict.fromkeys((cell.name for cell in own), path)
        else:
            failed[name] = reason
            print(f"no page on {name}: {reason}", file=sys.stderr, flush=True)
    return pages, failed


def _make(
    folder: Path, cells: Sequence[Cell], finished: Mapping[str, Found], method: str
) -> str | None:
    """Makes one page where it is missing or old; says why that failed, or None."""
    note = folder.with_name(f"{folder.name}.json")
    runs = [finished[cell.name] for cell in cells]
    facts = {"map": method, "runs": [[str(run.path), run.result] for run in runs]}
    made_from = json.dumps(facts, sort_keys=True)
    if (folder / PAGE).is_file() and note.is_file() and note.read_text("utf-8") == made_from:
        return None
    print(f"analysing {folder.name}", file=sys.stderr, flush=True)
    words = [sys.executable, "-m", "rlmrec_fast.cli", "analyze", *(str(run.path) for run in runs)]
    words += ["--out", str(folder), "--data", str(cells[0].source.path), "--map", method]
    folder.parent.mkdir(parents=True, exist_ok=True)
    result = subprocess.run(
        [*words, "--overwrite"], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    if result.returncode:
        lines = result.stderr.decode("utf-8", "replace").strip().splitlines()
        reason = lines[-1] if lines else f"exit code {result.returncode}"
        return reason.removeprefix("error: ")[:500]
    write_text(note, made_from)
    return None
