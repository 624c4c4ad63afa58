"""AutoCF: messages go through a graph with holes, and attention looks for the edges missing."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rlmrec_fast import ops
from rlmrec_fast.backbones.base import Backbone, Batch, check_bounds, members
from rlmrec_fast.graph import InteractionGraph
from rlmrec_fast.ops.distinct import must_not_wait
from rlmrec_fast.ops.random import Seed
from rlmrec_fast.ops.reduce import stable_sum
from rlmrec_fast.symmetric import SymmetricGraph

# What seeds derived from others are for; large, because operators count theirs from 0.
_ATTENTION, _SCORES, _GRAPHS = 0x41747465, 0x53636F72, 0x47726170


class AutoCF(Backbone):
    """AutoCF, a masked graph autoencoder.

    Every `fix_steps` steps of an epoch, from its first on, seeds are drawn by how like they are to
    their neighbourhood (`ops.draw_seeds`), and around them a new pair of graphs is cut and filled
    up (`ops.draw_subgraphs`). `E_{l+1} = Â' E_l` with the encoder graph, num_layers times; then
    transformer layers on the decoder graph, each with matrices Q, K, V of its own
    (`ops.edge_attention`). The final embeddings are the sum of all E. In evaluation mode both
    graphs are the interactions. With u the users and p the positives of a batch, and lse(Q, C) the
    mean over q of log sum_c exp(q . c),

        rec = mean(-e_u . e_p)
        cl = ssl_reg * ( lse(distinct u, ALL users) + lse(distinct p, ALL items) )
           + lse(u, ALL items)
        infomax = -mean(scores of ALL nodes), in a step that draws graphs.

    Negatives play no part. The state between steps ends with its epoch, for each begins with a
    draw. Without `prepare`, the first pass in training mode draws.

    Args:
        graph: the training interactions.
        dim: embedding size d.
        num_layers: number of propagations, at least 0.
        keep_rate: share of the nodes that are candidates for new edges though not masked, in
            (0, 1].
        reg_weight: weight of the squared L2 norm of all parameters.
        transformer_layers: number of transformer layers, at least 1.
        num_heads: their heads; divides dim.
        seed_num: number of seeds, at least 1; all nodes where there are fewer.
        mask_depth: levels of the search that masks edges, at least 1.
        fix_steps: steps that a pair of graphs is used for, at least 1.
        ssl_reg: weight of the terms that push users and items apart, at least 0.
        seed: seed of the initialisation.

    Raises:
        ValueError: a value is out of bounds, or the graph has self-loops.
    """

    paper = "Xia et al., AutoCF, WWW 2023, arXiv 2303.07797"

    def __init__(
        self,
        graph: InteractionGraph,
        dim: int = 32,
        num_layers: int = 2,
        keep_rate: float = 0.2,
        reg_weight: float = 1e-6,
        transformer_layers: int = 1,
        num_heads: int = 4,
        seed_num: int = 100,
        mask_depth: int = 2,
        fix_steps: int = 10,
        ssl_reg: float = 5.0,
        seed: int = 2023,
    ) -> None:
        check_bounds("AutoCF", num_layers >= 0, "num_layers must be >= 0", num_layers)
        check_bounds("AutoCF", 0 < keep_rate <= 1, "keep_rate must be in (0, 1]", keep_rate)
        for name, value in (
            ("transformer_layers", transformer_layers),
            ("num_heads", num_heads),
            ("seed_num", seed_num),
            ("mask_depth", mask_depth),
            ("fix_steps", fix_steps),
        ):
            check_bounds("AutoCF", value >= 1, f"{name} must be at least 1", value)
        check_bounds("AutoCF", ssl_reg >= 0, "ssl_reg must be >= 0", ssl_reg)
        super().__init__(graph, dim, reg_weight, seed)
        check_bounds("AutoCF", dim % num_heads == 0, f"num_heads must divide dim {dim}", num_heads)
        self.num_layers = num_layers
        self.keep_rate = keep_rate
        self.num_heads = num_heads
        self.seed_num = min(seed_num, graph.num_nodes)
        self.mask_depth = mask_depth
        self.fix_steps = fix_steps
        self.ssl_reg = ssl_reg
        generator = torch.Generator().manual_seed(ops.derive_seed(seed, _ATTENTION))
        matrices = torch.empty(transformer_layers, 3, dim, dim)
        for matrix in matrices.view(-1, dim, dim):
            nn.init.xavier_uniform_(matrix, generator=generator)
        self.attention = nn.Parameter(matrices.to(graph.device))
        self._graphs: tuple[InteractionGraph, SymmetricGraph] | None = None
        self._infomax: Tensor | None = None

    def prepare(self, step: int, seed: Seed) -> None:
        """Draws new graphs if it is time; see `Backbone.prepare`."""
        self._infomax = None
        if self.training and self.draws(step):
            self._draw(seed)

    def draws(self, step: int) -> bool:
        """In every `fix_steps`-th step of an epoch; see `Backbone.draws`."""
        return step % self.fix_steps == 0

    def forward(self, ego: Tensor, seed: Seed) -> Tensor:
        """The sum of all layers; see `Backbone.forward`."""
        encoder: InteractionGraph = self.graph
        decoder: InteractionGraph | SymmetricGraph = self.graph
        if self.training:
            encoder, decoder = self._graphs or self._draw(seed)
        layer = total = ego
        for _ in range(self.num_layers):
            layer = ops.propagate(layer, encoder, 1, combine="last")
            total = total + layer
        for matrices in self.attention:
            query, key, value = (layer @ matrix for matrix in matrices)
            layer = ops.edge_attention(query, key, value, decoder, self.num_heads)
            total = total + layer
        return total

    def views(self, ego: Tensor, seed: Seed) -> tuple[Tensor, ...]:
        """The final embeddings, and `infomax` if graphs were drawn; see `Backbone.views`."""
        table = self(ego, seed)
        infomax, self._infomax = self._infomax, None
        return (table,) if infomax is None else (table, infomax)

    def terms(self, views: tuple[Tensor, ...], batch: Batch) -> dict[str, Tensor]:
        """The terms that the class names; see `Backbone.terms`."""
        user_table, item_table = self.split(views[0])
        users, _, counts = ops.distinct(batch.users, len(user_table), must_not_wait(batch.users))
        anchors = ops.gather(user_table, users)
        pairs = ops.gather(user_table, batch.users) * ops.gather(item_table, batch.positives)
        # A user that a batch repeats is computed once.
        crossed = ops.lse_matmul(anchors, item_table, reduction="sum", query_weight=counts)
        apart = _apart(user_table, batch.users) + _apart(item_table, batch.positives)
        size = len(batch.users)
        terms = {
            "rec_loss": -stable_sum(pairs) / size,
            "cl_loss": self.ssl_reg * apart + crossed / size,
        }
        return terms if len(views) == 1 else {**terms, "infomax_loss": views[1]}

    def compared(self, batch: Batch) -> Batch:
        """The batch without negatives; see `Backbone.compared`."""
        return batch._replace(negatives=batch.negatives[:0])

    def _draw(self, seed: Seed) -> tuple[InteractionGraph, SymmetricGraph]:
        """New graphs by the embeddings as they are, masked ones' own included; and `infomax`."""
        seeds, scores = ops.draw_seeds(
            self.embedding, self.graph, self.seed_num, ops.derive_seed(seed, _SCORES)
        )
        graphs = ops.draw_subgraphs(
            *(self.graph, seeds, self.mask_depth, self.keep_rate),
            ops.derive_seed(seed, _GRAPHS),
            padded=self.recorded or must_not_wait(seeds),
        )
        if self._graphs is None or not self.recorded:
            self._graphs = graphs
        else:
            for old, new in zip(self._graphs, graphs, strict=True):
                old._overwrite(new)
        self._infomax = -stable_sum(scores) / len(scores)
        return self._graphs


def _apart(table: Tensor, ids: Tensor) -> Tensor:
    """The mean of log sum exp of the distinct ids' rows with all rows."""
    chosen = members(ids, len(table))
    rows = ops.gather(table, chosen.rows)
    total = ops.lse_matmul(rows, table, reduction="sum", query_weight=chosen.weights)
    return total / chosen.number
