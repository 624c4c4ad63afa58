"""What a build says about CUDA where nvcc is, where it is not, and where it must be."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]


def configure(folder: Path, cuda: str, nvcc: str = "") -> tuple[int, str]:
    """Exit code and output of the configuration."""
    if shutil.which("cmake") is None or shutil.which("ninja") is None:
        pytest.skip("needs cmake and ninja")
    options = {
        "RLMREC_FAST_CUDA": cuda,
        "RLMREC_FAST_NVCC": nvcc,
        "Python_EXECUTABLE": sys.executable,
        "RLMREC_FAST_TORCH_DIR": Path(torch.__file__).parent,
        "RLMREC_FAST_TORCH_VERSION": torch.__version__,
    }
    arguments = [f"-D{name}={value}" for name, value in options.items()]
    done = subprocess.run(
        ["cmake", "-S", ROOT, "-B", folder, "-G", "Ninja", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"CUDA_HOME": "", "CUDA_PATH": ""},
    )
    return done.returncode, done.stdout + done.stderr


def said(output: str) -> list[str]:
    return [line for line in output.splitlines() if line.startswith("-- rlmrec_fast: ")]


def test_off_builds_cpu_kernels_and_says_so_in_one_line(tmp_path):
    status, output = configure(tmp_path, "off")
    assert status == 0, output
    assert said(output) == ["-- rlmrec_fast: CPU kernels only (RLMREC_FAST_CUDA=off)"]
    assert '"cuda": false' in (tmp_path / "build_info.json").read_text()
    assert "csrc/cuda" not in (tmp_path / "build.ninja").read_text()


def test_auto_builds_cpu_kernels_where_nvcc_does_not_work(tmp_path):
    status, output = configure(tmp_path, "auto", nvcc="/bin/false")
    assert status == 0, output
    assert said(output) == ["-- rlmrec_fast: CPU kernels only (/bin/false does not work)"]


def test_on_without_nvcc_is_an_error_that_names_the_cure(tmp_path):
    status, output = configure(tmp_path, "on", nvcc="/bin/false")
    assert status != 0
    message = " ".join(output.split())
    assert "RLMREC_FAST_CUDA=on: /bin/false does not work; `make toolkit` brings nvcc" in message


def test_an_unknown_choice_is_refused(tmp_path):
    status, output = configure(tmp_path, "maybe")
    assert status != 0
    assert "RLMREC_FAST_CUDA must be on, off or auto (got maybe)" in " ".join(output.split())


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="needs nvcc")
def test_auto_finds_the_toolkit_behind_nvcc(tmp_path):
    wrapper = tmp_path / "elsewhere" / "nvcc"
    wrapper.parent.mkdir()
    wrapper.write_text(f'#!/bin/sh\nexec {shutil.which("nvcc")} "$@"\n')
    wrapper.chmod(0o755)
    status, output = configure(tmp_path / "build", "auto", nvcc=str(wrapper))
    assert status == 0, output
    (line,) = said(output)
    assert line.startswith("-- rlmrec_fast: CPU and CUDA kernels (nvcc ")
    info = (tmp_path / "build" / "build_info.json").read_text()
    assert '"cuda": true' in info
    assert '"sm_80", "sm_90", "sm_100", "sm_120"' in info
