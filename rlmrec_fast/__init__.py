"""Graph recommenders aligned with language models, on fused native kernels.

``rlmrec_fast.InteractionGraph`` holds the user-item graph, ``rlmrec_fast.ops`` the operators,
``rlmrec_fast.nn`` the layers that drop into other models, ``rlmrec_fast.memory`` what a training
loop may tell the allocator. Training, data sets and the command line
need the extra packages of ``pip install "rlmrec-fast[train]"`` and are imported on request.
"""

from rlmrec_fast import _library
from rlmrec_fast._version import __version__

_library.load()

from rlmrec_fast import memory, nn, ops  # noqa: E402
from rlmrec_fast.graph import InteractionGraph, WeightedGraph  # noqa: E402
from rlmrec_fast.symmetric import SymmetricGraph  # noqa: E402

__all__ = [
    "InteractionGraph",
    "SymmetricGraph",
    "WeightedGraph",
    "__version__",
    "memory",
    "nn",
    "ops",
]
