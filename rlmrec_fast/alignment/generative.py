"""RLMRec-Gen: the texts of masked nodes are found again from their neighbours."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rlmrec_fast import ops
from rlmrec_fast.alignment.base import Alignment, Sizes
from rlmrec_fast.alignment.projector import Projector
from rlmrec_fast.backbones.base import Batch, check_bounds
from rlmrec_fast.ops.random import Seed

# What a seed derived from a step's is for; large, because operators count theirs from 0.
_MASK = 0x4D61736B


class Generative(Alignment):
    """Generative alignment, RLMRec-Gen.

    In every step `max(1, floor(N * mask_ratio))` nodes are drawn without replacement. Their ego
    embeddings are replaced by one learnable token, zero at first, and the backbone runs on the
    masked table. Final embeddings e of the masked nodes M are projected to their texts' space,
    `x = W2 leaky(W1 e + b1) + b2`, of widths `d'`, `(t + d') // 2`, `t`, and with y the texts'
    vectors, both normalised to length 1,

        recon = recon_weight * mean_{i in M}
                -log( exp(x_i.y_i / tau) / (sum_{j in M} exp(x_i.y_j / tau) + 1e-8) + 1e-8 ):

    the masked nodes are each other's candidates (the paper's section 3.3).

    Args:
        text: `[N, t]`, the texts' vectors, users first.
        sizes: of the backbone.
        mask_ratio: share of the nodes that are masked, in (0, 1).
        recon_weight: weight of the loss, at least 0.
        recon_temperature: tau, above 0.
        projector_dtype: `float32`, or `bfloat16` for the projector's storage and products and the
            loss's products.
        seed: seed of the projector's initialisation.

    Raises:
        ValueError: a value is out of bounds, or the number of rows is wrong.
    """

    def __init__(
        self,
        text: Tensor,
        sizes: Sizes,
        mask_ratio: float = 0.15,
        recon_weight: float = 0.1,
        recon_temperature: float = 0.5,
        projector_dtype: str = "float32",
        seed: int = 2023,
    ) -> None:
        for name, holds, value, bound in (
            ("mask_ratio", 0 < mask_ratio < 1, mask_ratio, "in (0, 1)"),
            ("recon_weight", recon_weight >= 0, recon_weight, ">= 0"),
            ("recon_temperature", recon_temperature > 0, recon_temperature, "> 0"),
        ):
            check_bounds("Generative", holds, f"{name} must be {bound}", value)
        super().__init__(text, sizes)
        self.mask_ratio = mask_ratio
        self.recon_weight = recon_weight
        self.recon_temperature = recon_temperature
        self._prepared: Tensor | None = None
        self.mask_token = nn.Parameter(torch.zeros(sizes.dim))
        self.projector = Projector(sizes.final_dim, text.shape[1], projector_dtype, seed)

    def prepare(self, seed: int) -> None:
        """Draws the rows that `mask` replaces; see `Alignment.prepare`."""
        rows = draw_nodes(len(self.text), self.mask_ratio, seed)
        if self._prepared is None or self._prepared.device != self.text.device:
            self._prepared = rows.to(self.text.device)
        else:
            self._prepared.copy_(rows, non_blocking=True)

    def mask(self, ego: Tensor, seed: Seed) -> tuple[Tensor, Tensor | None]:
        """Puts the token in place of some rows; see `Alignment.mask`."""
        if not isinstance(seed, Tensor):
            rows = draw_nodes(len(ego), self.mask_ratio, seed).to(ego.device, non_blocking=True)
        elif self._prepared is not None:
            rows = self._prepared
        else:
            raise TypeError(
                "Generative: seed must be an integer, for the CPU draws, unless prepare was called "
                "before (got a tensor)"
            )
        return ego.index_copy(0, rows, self.mask_token.expand(len(rows), -1)), rows

    def loss(self, table: Tensor, batch: Batch, masked: Tensor | None) -> Tensor:
        """The weighted reconstruction of the masked rows' texts; see `Alignment.loss`."""
        if masked is None:
            raise ValueError("Generative: masked must be the rows that mask gave (got None)")
        projected = self.projector(table, masked)
        text = self.text.index_select(0, masked).to(projected.dtype)
        return self.recon_weight * ops.reconstruction_loss(
            projected, text, self.recon_temperature, dtype=self.projector.dtype
        )


def draw_nodes(count: int, ratio: float, seed: int) -> Tensor:
    """`max(1, floor(count * ratio))` different numbers in [0, count), int64, on the CPU.

    The seed alone decides them: neither device nor threads nor torch's global generator matter.
    """
    generator = torch.Generator().manual_seed(ops.derive_seed(seed, _MASK))
    return torch.randperm(count, generator=generator)[: max(1, int(count * ratio))]
