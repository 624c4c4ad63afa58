"""Loading the native libraries: missing ones, damaged ones, unknown instruction sets."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import rlmrec_fast
from rlmrec_fast.info import ISAS, active_isa

PACKAGE = Path(rlmrec_fast.__file__).parent
ROOT = PACKAGE.parent
HEAVY = ("scipy", "polars", "typer", "pydantic", "rich", "sklearn", "safetensors", "yaml")


def run(code: str, package: Path = PACKAGE, **environment: str) -> subprocess.CompletedProcess[str]:
    # The package's folder comes first and an editable install's finder goes, so that nothing of
    # the original is found when a part of a copy is missing.
    prelude = (
        f"import sys; sys.path.insert(0, {str(package.parent)!r})\n"
        "sys.meta_path[:] = [f for f in sys.meta_path if '__editable__' not in repr(f)]\n"
    )
    return subprocess.run(
        [sys.executable, "-c", prelude + code],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        cwd=package.parent,
        timeout=120,
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the package that a test may damage."""
    target = tmp_path / "rlmrec_fast"
    shutil.copytree(PACKAGE, target, ignore=shutil.ignore_patterns("__pycache__"))
    return target


def load_error(package: Path) -> str:
    done = run("import rlmrec_fast", package)
    assert done.returncode == 1, "the import went well"
    assert "LibraryLoadError" in done.stderr
    return done.stderr


def test_an_undamaged_copy_loads(copy):
    done = run("import rlmrec_fast; print(rlmrec_fast.__file__)", copy)
    assert done.returncode == 0, done.stderr
    assert str(copy) in done.stdout


def test_missing_operators_are_explained_with_the_cure(copy):
    (copy / "librlmrec_fast.so").unlink()
    message = load_error(copy)
    assert "librlmrec_fast.so is missing" in message
    assert f"built: version {rlmrec_fast.__version__}" in message
    assert f"running torch {torch.__version__}" in message
    assert "pip install --no-build-isolation" in message


def test_truncated_operators_are_explained(copy):
    library = copy / "librlmrec_fast.so"
    whole = library.read_bytes()
    for size in (0, 63, 1000, len(whole) // 2, len(whole) - 1):
        library.write_bytes(whole[:size])
        assert "librlmrec_fast.so cannot be loaded: it is cut off" in load_error(copy)


def test_a_missing_native_module_is_explained(copy):
    for path in copy.glob("_native*.so"):
        path.unlink()
    message = load_error(copy)
    assert "_native cannot be imported" in message
    assert "found: librlmrec_fast.so" in message


def test_a_package_that_was_never_built_says_so(copy):
    for path in [*copy.glob("*.so"), copy / "build_info.json"]:
        path.unlink()
    message = load_error(copy)
    assert "built: nothing" in message
    assert "found: no library" in message


def test_a_damaged_build_report_does_not_hide_the_problem(copy):
    (copy / "librlmrec_fast.so").unlink()
    (copy / "build_info.json").write_text("{")
    assert "built: nothing" in load_error(copy)


def test_the_import_brings_in_torch_and_numpy_only():
    found = f"print([name for name in {HEAVY} if name in sys.modules])"
    before = run(f"import sys, torch, numpy; {found}").stdout
    after = run(f"import sys, rlmrec_fast; {found}").stdout
    assert after == before


def test_an_unknown_instruction_set_is_refused_by_name():
    done = run(
        "import torch, rlmrec_fast; rlmrec_fast.ops.squared_norm(torch.ones(3))",
        RLMREC_FAST_ISA="sse9",
    )
    assert done.returncode == 1
    assert "RLMREC_FAST_ISA must be baseline, avx2 or avx512 (got sse9)" in done.stderr


WORK = """
import json, torch
from rlmrec_fast import InteractionGraph, ops
from rlmrec_fast.info import active_isa
generator = torch.Generator().manual_seed(1)
graph = InteractionGraph.from_pairs(
    torch.randint(300, (4000,), generator=generator),
    torch.randint(200, (4000,), generator=generator), 300, 200)
x = torch.randn(500, 45, generator=generator)
table = ops.propagate(x, graph, 3, keep_rate=0.7, seed=5, noise=0.1)
users, items = table.split([300, 200])
best, _ = ops.rank(users.round(decimals=1), items.round(decimals=1), 10, graph.user_items)
print(json.dumps([active_isa(), table.tolist(), best.tolist(), ops.squared_norm(x).item()]))
"""


def test_instruction_sets_agree_within_rounding():
    best = ISAS.index(active_isa()) if "RLMREC_FAST_ISA" not in os.environ else 0
    results = []
    for isa in ISAS[: best + 1]:
        done = run(WORK, RLMREC_FAST_ISA=isa)
        assert done.returncode == 0, done.stderr
        name, table, ranked, norm = json.loads(done.stdout)
        assert name == isa
        results.append((torch.tensor(table), ranked, norm))
    for table, ranked, norm in results[1:]:
        torch.testing.assert_close(table, results[0][0], rtol=1e-5, atol=1e-6)
        same = [a == b for a, b in zip(ranked, results[0][1], strict=True)]
        # Rounded tables leave near ties only, whose order may differ.
        assert sum(same) >= 0.95 * len(same)
        assert norm == pytest.approx(results[0][2], rel=1e-6)


def test_kernels_of_an_instruction_set_share_no_symbol_with_the_others():
    found = ROOT.glob("build/*/CMakeFiles/kernels_*.dir/csrc/cpu/*.o")
    objects = [path for path in found if "sanitize" not in str(path.relative_to(ROOT))]
    if not objects or shutil.which("nm") is None:
        pytest.skip("needs the build folder and nm")
    for path in objects:
        isa = path.parents[2].name.removeprefix("kernels_").removesuffix(".dir")
        listed = subprocess.run(["nm", "-C", path], capture_output=True, text=True, check=True)
        for line in listed.stdout.splitlines():
            kind, _, name = line[17:].partition(" ")
            if kind in "WVu" and not name.startswith("DW.ref."):  # pointers of exception tables
                assert f"rlmrec_fast::{isa}::" in name, f"{path}: {name}"
