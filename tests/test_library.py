"""Loading the native libraries: missing, damaged and stale ones, unknown instruction sets."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from helpers import PACKAGE, run_isolated

import rlmrec_fast
from rlmrec_fast.info import ISAS, active_isa

ROOT = Path(__file__).parents[1]
HEAVY = (
    *("scipy", "polars", "typer", "pydantic", "rich", "sklearn", "safetensors", "yaml"),
    *("matplotlib", "jinja2", "umap", "openai", "torch._dynamo"),
)
OPERATORS = "librlmrec_fast.so"


def remove(*patterns: str) -> Callable[[Path], None]:
    def damage(package: Path) -> None:
        for pattern in patterns:
            for path in package.glob(pattern):
                path.unlink()

    return damage


def cut(share: float, left_out: int = 0) -> Callable[[Path], None]:
    def damage(package: Path) -> None:
        whole = (package / OPERATORS).read_bytes()
        (package / OPERATORS).write_bytes(whole[: int(share * len(whole)) - left_out])

    return damage


def age(package: Path) -> None:
    path = package / "build_info.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": "0.0.9"}))


def garble(package: Path) -> None:
    remove(OPERATORS)(package)
    (package / "build_info.json").write_text("{")


DAMAGES: dict[str, Callable[[Path], None]] = {
    "none": lambda package: None,
    "no operators": remove(OPERATORS),
    "empty operators": cut(0),
    "first bytes": cut(0, left_out=-63),
    "half of the operators": cut(0.5),
    "all but one byte": cut(1, left_out=1),
    "no native module": remove("_native*.so"),
    "never built": remove("*.so", "build_info.json"),
    "garbled report": garble,
    "another version": age,
}
# An editable install would bring in modules that the copy lacks.
LOAD = """
import sys
sys.meta_path = [f for f in sys.meta_path if "editable" not in getattr(f, "__module__", "")]
sys.path.insert(0, case)
import rlmrec_fast
print(rlmrec_fast.__file__)
"""


@pytest.fixture(scope="module")
def loads(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str]]:
    """Exit code and output of importing a copy of the package, for each damage."""
    folders = []
    for damage in DAMAGES.values():
        folders.append(tmp_path_factory.mktemp("copy"))
        package = folders[-1] / "rlmrec_fast"
        shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
        damage(package)
    return dict(zip(DAMAGES, run_isolated(LOAD, list(map(str, folders))), strict=True))


def load_error(load: tuple[int, str]) -> str:
    status, output = load
    assert status == 1, (status, output)
    assert "LibraryLoadError: rlmrec_fast: " in output
    assert f"running torch {torch.__version__}" in output
    assert "pip install --no-build-isolation" in output
    return output


def test_an_undamaged_copy_loads(loads):
    status, output = loads["none"]
    assert status == 0, output
    assert "/copy" in output


def test_missing_operators_are_explained_with_the_cure(loads):
    message = load_error(loads["no operators"])
    assert "librlmrec_fast.so is missing" in message
    assert f"built: version {rlmrec_fast.__version__}" in message
    assert "found: _native" in message


@pytest.mark.parametrize(
    "damage", ["empty operators", "first bytes", "half of the operators", "all but one byte"]
)
def test_truncated_operators_are_explained(damage, loads):
    assert "librlmrec_fast.so cannot be loaded: it is cut off" in load_error(loads[damage])


def test_a_missing_native_module_is_explained(loads):
    message = load_error(loads["no native module"])
    assert "_native cannot be imported" in message
    assert "found: librlmrec_fast.so" in message


def test_a_package_that_was_never_built_says_so(loads):
    message = load_error(loads["never built"])
    assert "built: nothing" in message
    assert "found: no library" in message


def test_a_damaged_build_report_does_not_hide_the_problem(loads):
    assert "built: nothing" in load_error(loads["garbled report"])


def test_libraries_of_another_version_are_refused(loads):
    message = load_error(loads["another version"])
    assert f"the libraries must be of version {rlmrec_fast.__version__} (got 0.0.9)" in message


def test_the_import_brings_in_torch_and_numpy_only():
    code = f"""
import numpy, sys
before = set(sys.modules)
import rlmrec_fast
print(sorted(set({HEAVY}) & (set(sys.modules) - before)))
"""
    assert run_isolated(code, [None]) == [(0, "[]\n")]


WORK = """
import json, os
os.environ["RLMREC_FAST_ISA"] = case
from rlmrec_fast import InteractionGraph, ops
from rlmrec_fast.info import active_isa
generator = torch.Generator().manual_seed(1)
graph = InteractionGraph.from_pairs(
    torch.randint(300, (4000,), generator=generator),
    torch.randint(200, (4000,), generator=generator), 300, 200)
x = torch.randn(500, 45, generator=generator, requires_grad=True)
table = ops.propagate(x, graph, 3, keep_rate=0.7, seed=5, noise=0.1)
users, items = graph.interactions()
loss = ops.bpr_loss(table, None, users, items + 300, ops.sample_negatives(graph, 4) + 300)
loss.backward()
half = ops.propagate(x.detach().bfloat16(), graph, 2)
whole_numbers = torch.randint(-3, 4, (500, 45), generator=generator).float()
best, _ = ops.rank(*whole_numbers.split([300, 200]), 10, graph.user_items)
near = ops.neighbors(x, 30)
norm = ops.squared_norm(x)
results = [table, loss, x.grad, half, norm, best, near, ops.edge_mask(graph, 0.5, 3)]
print(json.dumps([active_isa(), [result.tolist() for result in results]]))
"""


def test_instruction_sets_agree_within_rounding():
    best = active_isa() if "RLMREC_FAST_ISA" not in os.environ else "baseline"
    isas = ISAS[: ISAS.index(best) + 1]
    results = {}
    for isa, (status, output) in zip(isas, run_isolated(WORK, isas), strict=True):
        assert status == 0, output
        name, values = json.loads(output)
        assert name == isa
        results[isa] = [torch.tensor(value) for value in values]
    for isa in isas[1:]:
        *rounded, best, near, mask = results[isa]
        *expected, first_best, first_near, first_mask = results["baseline"]
        for a, b in zip(rounded, expected, strict=True):
            tolerance = 2.0**-7 if a is rounded[3] else 1e-5
            torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance / 10)
        assert torch.equal(best, first_best)
        assert torch.equal(near, first_near)
        assert torch.equal(mask, first_mask)


def test_an_unknown_instruction_set_is_refused_by_name():
    code = """
import os
os.environ["RLMREC_FAST_ISA"] = case
import rlmrec_fast
"""
    (status, output), lower_case_only = run_isolated(code, ["sse9", "AVX2"])
    assert status == lower_case_only[0] == 1
    assert "ValueError: RLMREC_FAST_ISA must be baseline, avx2 or avx512 (got sse9)" in output


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
