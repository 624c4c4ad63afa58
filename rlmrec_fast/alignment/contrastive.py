"""RLMRec-Con: projected texts and final embeddings of the same node attract each other."""

from __future__ import annotations

import torch
from torch import Tensor

from rlmrec_fast import ops
from rlmrec_fast.alignment.base import Alignment, Sizes
from rlmrec_fast.alignment.projector import DTYPES, Projector
from rlmrec_fast.backbones.base import Batch, check_bounds
from rlmrec_fast.ops.distinct import must_not_wait


class Contrastive(Alignment):
    """Contrastive alignment, RLMRec-Con.

    Texts go through a projector, `s = W2 leaky(W1 text + b1) + b2`, of widths `t`, `(t + d') // 2`
    and `d'`. With e the final embeddings, u the users, p the positives and n the negatives of a
    batch of size B, and cos by x / sqrt(1e-8 + x.x),

        InfoNCE(q, k, C) = sum_i ( -cos(q_i, k_i) / tau + log sum_{c in C} exp(cos(q_i, c) / tau) )

        kd = kd_weight / B * ( InfoNCE(e_u, s_u, s of ALL users)
                             + InfoNCE(e_p, s_p, s_p) + InfoNCE(e_n, s_n, s_n) ).

    The last two take their candidates from the batch, duplicates included. That maximises the
    mutual information of texts and embeddings (the paper's section 3.2). Only rows in use are
    projected: all users, and every item of the batch once.

    Args:
        text: `[N, t]`, the texts' vectors, users first.
        sizes: of the backbone.
        kd_weight: weight of the loss, at least 0.
        kd_temperature: tau, above 0.
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
        kd_weight: float = 1e-2,
        kd_temperature: float = 0.2,
        projector_dtype: str = "float32",
        seed: int = 2023,
    ) -> None:
        check_bounds("Contrastive", kd_weight >= 0, "kd_weight must be >= 0", kd_weight)
        check_bounds(
            "Contrastive", kd_temperature > 0, "kd_temperature must be > 0", kd_temperature
        )
        super().__init__(text, sizes)
        self.num_users = sizes.num_users
        self.kd_weight = kd_weight
        self.kd_temperature = kd_temperature
        self.projector = Projector(text.shape[1], sizes.final_dim, projector_dtype, seed)
        # The projector rounds to its type anyway; a rounded table is smaller and gives equal bits.
        self.text = text.to(DTYPES[projector_dtype] or text.dtype)

    def loss(self, table: Tensor, batch: Batch, masked: Tensor | None) -> Tensor:
        """The weighted kd; see `Alignment.loss`."""
        users = self.num_users
        total = ops.info_nce_by_id(
            table[:users],
            self.projector(self.text[:users]),
            batch.users,
            self.kd_temperature,
            candidates="all",
            dtype=self.projector.dtype,
        )
        nodes = torch.cat([batch.positives, batch.negatives]) + users
        rows, places, _ = ops.distinct(nodes, len(table), must_not_wait(nodes))
        embedded, projected = ops.gather(table, rows), self.projector(self.text, rows)
        for ids in places.split([len(batch.positives), len(batch.negatives)]):
            if len(ids):
                total = total + ops.info_nce_by_id(
                    embedded,
                    projected,
                    ids,
                    self.kd_temperature,
                    candidates="batch",
                    dtype=self.projector.dtype,
                )
        return self.kd_weight / len(batch.users) * total
