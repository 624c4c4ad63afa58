"""The two layers that lead from one space, texts or embeddings, to the other."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rlmrec_fast import ops
from rlmrec_fast.backbones.base import check_bounds

DTYPES = {"float32": None, "bfloat16": torch.bfloat16}
"""The setting `projector_dtype` -> the type of storage and products; None for the weights' own."""

# What a derived seed is for; 1 to 3 are the trainer's.
_PROJECTOR = 4


class Projector(nn.Module):
    """Linear(a, (a + b) // 2), LeakyReLU(0.01), Linear(., b), on the rows that are needed.

    Weights are Xavier-uniform, as every matrix of RLMRec. Biases are no matrices and are drawn as
    torch's own `nn.Linear` draws them, uniform within 1 / sqrt(fan-in). Zeros would not do: a
    masked node all of whose edges are dropped has the embedding zero, zero would be projected to
    zero, and a zero vector has no direction to compare.

    Args:
        inputs: width a.
        outputs: width b.
        dtype: `float32`, or `bfloat16` for storage and products in 16 bits.
        seed: seed of the initialisation.

    Raises:
        ValueError: the type is neither.
    """

    def __init__(self, inputs: int, outputs: int, dtype: str, seed: int) -> None:
        super().__init__()
        known = dtype in DTYPES
        check_bounds(
            "Projector", known, f"projector_dtype must be one of {', '.join(DTYPES)}", dtype
        )
        self.dtype = DTYPES[dtype]
        hidden = (inputs + outputs) // 2
        generator = torch.Generator().manual_seed(ops.derive_seed(seed, _PROJECTOR))
        self.weight1, self.bias1 = _linear(inputs, hidden, generator)
        self.weight2, self.bias2 = _linear(hidden, outputs, generator)

    def forward(self, vectors: Tensor, rows: Tensor | None = None) -> Tensor:
        """Projects rows of `[n, a]`, all or those of int64 `[m]`; float `[n or m, b]`."""
        layers = (self.weight1, self.bias1, self.weight2, self.bias2)
        return ops.project(vectors, *layers, rows, dtype=self.dtype)


def _linear(
    inputs: int, outputs: int, generator: torch.Generator
) -> tuple[nn.Parameter, nn.Parameter]:
    weight, bias = torch.empty(outputs, inputs), torch.empty(outputs)
    nn.init.xavier_uniform_(weight, generator=generator)
    bound = inputs**-0.5
    nn.init.uniform_(bias, -bound, bound, generator=generator)
    return nn.Parameter(weight), nn.Parameter(bias)
