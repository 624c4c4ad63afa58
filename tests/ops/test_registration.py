from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from raw_calls import raw_calls

LIBRARY = Path(__file__).parents[2] / "csrc" / "library.cpp"
NAMESPACE = "rlmrec_fast::"
# About the process, not about data: there is nothing to trace, differentiate or fake.
WITHOUT_DATA = {"active_isa", "release_scratch"}


def registered() -> set[str]:
    names = torch._C._dispatch_get_all_op_names()
    return {name.removeprefix(NAMESPACE) for name in names if name.startswith(NAMESPACE)}


def test_every_schema_of_the_library_is_registered_and_has_example_calls():
    schemas = set(re.findall(r'm\.def\(\s*"(\w+)\(', LIBRARY.read_text()))
    assert schemas == registered()
    assert schemas - WITHOUT_DATA == set(raw_calls())


def test_every_operator_has_a_cpu_kernel():
    for name in registered():
        assert torch._C._dispatch_has_kernel_for_dispatch_key(NAMESPACE + name, "CPU"), name


def test_every_operator_on_data_has_a_fake_kernel():
    for name in registered() - WITHOUT_DATA:
        assert torch._C._dispatch_has_kernel_for_dispatch_key(NAMESPACE + name, "Meta"), name


@pytest.mark.parametrize("name", raw_calls())
def test_opcheck_passes(name):
    operator = getattr(torch.ops.rlmrec_fast, name)
    assert operator.overloads() == ["default"]
    for call in raw_calls()[name]:
        torch.library.opcheck(operator.default, call)
