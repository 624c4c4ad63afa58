from __future__ import annotations

import subprocess
import sys

import torch

from rlmrec_fast import __version__
from rlmrec_fast.info import ISAS, report


def test_the_report_names_versions_build_processor_and_cuda():
    found = report()
    assert found["versions"]["rlmrec_fast"] == __version__
    assert found["versions"]["torch"] == torch.__version__
    assert found["build"]["version"] == __version__
    assert found["processor"]["instruction set in use"] in ISAS
    assert found["processor"]["threads"] == torch.get_num_threads()
    kernels = found["cuda"]["kernels in this build"]
    if found["build"]["cuda"]:
        assert "sm_90" in kernels
    else:
        assert kernels == "none: built without nvcc"


def test_the_module_prints_the_report():
    done = subprocess.run(
        [sys.executable, "-m", "rlmrec_fast.info"], capture_output=True, text=True, check=True
    )
    for section in ("versions", "build", "processor", "cuda"):
        assert section in done.stdout.splitlines()
    assert f"rlmrec_fast: {__version__}" in done.stdout
