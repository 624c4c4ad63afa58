"""The native module on numpy arrays (csrc/native); rlmrec_fast.graph is its public face."""

from collections.abc import Sequence
from typing import SupportsIndex, TypedDict, type_check_only

import numpy as np
from numpy.typing import NDArray

PARTITION_TARGET: int

@type_check_only
class GraphArrays(TypedDict):
    user_offsets: NDArray[np.int64]
    user_items: NDArray[np.int32]
    item_offsets: NDArray[np.int64]
    item_users: NDArray[np.int32]
    offsets: NDArray[np.int64]
    columns: NDArray[np.int32]
    reverse: NDArray[np.int64]
    partition: NDArray[np.int64]

@type_check_only
class WeightedGraphArrays(TypedDict):
    offsets: NDArray[np.int64]
    columns: NDArray[np.int32]
    partition: NDArray[np.int64]
    transposed_offsets: NDArray[np.int64]
    transposed_columns: NDArray[np.int32]
    transposed_positions: NDArray[np.int64]
    transposed_partition: NDArray[np.int64]

@type_check_only
class SymmetricGraphArrays(TypedDict):
    offsets: NDArray[np.int64]
    columns: NDArray[np.int32]
    partition: NDArray[np.int64]

@type_check_only
class BuildInfo(TypedDict):
    version: str
    compiler: str
    cxx_standard: int
    build_type: str
    python: str
    pybind11: str
    torch: str
    cuda: bool

@type_check_only
class CpuInfo(TypedDict):
    architecture: str
    brand: str
    features: list[str]
    isa: str

def build_graph(
    users: NDArray[np.int64],
    items: NDArray[np.int64],
    num_users: SupportsIndex,
    num_items: SupportsIndex,
    self_loops: bool = False,
) -> GraphArrays: ...
def restore_graph(
    offsets: NDArray[np.int64],
    columns: NDArray[np.int32],
    num_users: SupportsIndex,
    num_items: SupportsIndex,
    self_loops: bool = False,
) -> GraphArrays: ...
def build_weighted_graph(
    offsets: NDArray[np.int64], columns: NDArray[np.int64], num_columns: SupportsIndex
) -> WeightedGraphArrays: ...
def build_symmetric_graph(
    offsets: NDArray[np.int64], columns: NDArray[np.int64]
) -> SymmetricGraphArrays: ...
def partition_rows(
    offsets: NDArray[np.int64], target: SupportsIndex = PARTITION_TARGET
) -> NDArray[np.int64]: ...
def k_core(
    users: NDArray[np.int64],
    items: NDArray[np.int64],
    num_users: SupportsIndex,
    num_items: SupportsIndex,
    user_min: SupportsIndex,
    item_min: SupportsIndex,
) -> NDArray[np.bool_]: ...
def split_per_user(
    users: NDArray[np.int64],
    items: NDArray[np.int64],
    num_users: SupportsIndex,
    num_items: SupportsIndex,
    ratios: Sequence[float],
    seed: SupportsIndex,
) -> NDArray[np.int8]: ...
def build_info() -> BuildInfo: ...
def cpu_info() -> CpuInfo: ...
