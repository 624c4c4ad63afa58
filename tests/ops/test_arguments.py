"""Every wrong argument is refused by name: `operator: NAME must ... (got ...)`."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from graphs import make_graph, make_weighted_graph

from rlmrec_fast import ops

GRAPH = make_graph("random")
MATRIX = make_weighted_graph()
ENTRIES = len(MATRIX.values)
IDS = torch.tensor([0, 1])
OFFSETS, ITEMS = torch.tensor([0, 1, 2]), torch.tensor([0, 1], dtype=torch.int32)

GOOD: dict[str, dict[str, Any]] = {
    "propagate": {"x": torch.zeros(70, 2), "graph": GRAPH, "num_layers": 2, "rows": IDS},
    "edge_mask": {"graph": GRAPH, "keep_rate": 0.5, "seed": 0},
    "spmm": {"x": torch.zeros(20, 2), "graph": MATRIX, "values": torch.zeros(ENTRIES)},
    "edge_attention": {
        "query": torch.zeros(70, 6),
        "key": torch.zeros(70, 6),
        "value": torch.zeros(70, 6),
        "graph": GRAPH,
        "num_heads": 2,
        "clamp": 10.0,
        "eps": 1e-8,
    },
    "adaptive_propagate": {
        "message": torch.zeros(70, 6),
        "x": torch.zeros(70, 6),
        "graph": GRAPH,
    },
    "bpr_loss": {
        "user_embedding": torch.zeros(2, 3),
        "item_embedding": torch.zeros(4, 3),
        "users": IDS,
        "positives": IDS,
        "negatives": IDS,
    },
    "propagated_bpr_loss": {
        "x": torch.zeros(70, 2),
        "graph": GRAPH,
        "num_layers": 2,
        "users": IDS,
        "positives": IDS,
        "negatives": IDS,
    },
    "distinct": {"ids": torch.tensor([2, 0, 2]), "size": 4},
    "gather": {"table": torch.zeros(4, 3), "rows": IDS},
    "sample_negatives": {"graph": GRAPH, "seed": 0},
    "draw_seeds": {"x": torch.zeros(70, 2), "graph": GRAPH, "num_seeds": 3, "seed": 0},
    "draw_subgraphs": {
        "graph": GRAPH,
        "seeds": IDS,
        "mask_depth": 2,
        "keep_rate": 0.5,
        "seed": 0,
    },
    "info_nce": {
        "query": torch.ones(2, 3),
        "positive": torch.ones(2, 3),
        "candidates": torch.ones(4, 3),
        "temperature": 0.2,
    },
    "info_nce_by_id": {
        "query_table": torch.ones(4, 3),
        "candidate_table": torch.ones(4, 3),
        "ids": IDS,
        "temperature": 0.2,
    },
    "symmetric_info_nce": {"x": torch.ones(2, 3), "y": torch.ones(2, 3), "temperature": 0.2},
    "lse_matmul": {"query": torch.ones(2, 3), "candidates": torch.ones(4, 3)},
    "reconstruction_loss": {"x": torch.ones(2, 3), "y": torch.ones(2, 3), "temperature": 0.2},
    "rank": {
        "user_embedding": torch.zeros(2, 3),
        "item_embedding": torch.zeros(4, 3),
        "k": 2,
        "exclude": (OFFSETS, ITEMS),
    },
    "ranking_metrics": {
        "items": torch.zeros(2, 5, dtype=torch.int64),
        "held_out": (OFFSETS, ITEMS),
        "cutoffs": (1, 5),
    },
    "squared_norm": {"x": torch.zeros(3)},
    "neighbors": {"table": torch.ones(4, 3), "k": 2},
    "neighbor_overlap": {"first": torch.tensor([[0, 1]]), "second": torch.tensor([[1, -1]])},
}

TABLE_CASES = [
    ([1.0], TypeError, r"must be a tensor \(got list\)"),
    (torch.zeros(70), ValueError, r"must have two dimensions \(got \(70,\)\)"),
    (torch.zeros(70, 2).long(), TypeError, r"must be of type float32, .* \(got torch.int64\)"),
    (torch.zeros(70, 2).to(torch.complex64), TypeError, r"must be of type .*complex64"),
]
IDS_CASES = [
    ([0], TypeError, r"must be a tensor \(got list\)"),
    (torch.tensor([0.0]), TypeError, r"must be of type int64 or int32 \(got torch.float32\)"),
    (torch.tensor([True]), TypeError, r"must be of type int64 or int32 \(got torch.bool\)"),
    (torch.tensor([[0]]), ValueError, r"must have one dimension \(got \(1, 1\)\)"),
]
SEED_CASES = [
    (-1, ValueError, r"must be in \[0, 2\*\*63\) \(got -1\)"),
    (0.5, TypeError, r"must be an integer \(got float\)"),
    (torch.tensor([1, 2]), ValueError, r"must be an integer or an int64 tensor of one element"),
]
RATE_CASES = [
    (value, ValueError, r"must be in \(0, 1\] \(got ") for value in (0.0, -0.1, 1.5, float("nan"))
]
META = torch.device("meta")
TEMPERATURE_CASES = [
    (value, ValueError, r"must be positive and finite \(got ")
    for value in (0.0, -0.2, float("inf"), float("nan"))
]
CONTRAST_CASES = [
    *[
        (op, name, *case)
        for op, names in {
            "info_nce": ("query", "positive", "candidates"),
            "info_nce_by_id": ("query_table", "candidate_table"),
            "lse_matmul": ("query", "candidates"),
            "reconstruction_loss": ("x", "y"),
        }.items()
        for name in names
        for case in TABLE_CASES
    ],
    *[
        (op, "temperature", *case)
        for op in ("info_nce", "info_nce_by_id", "reconstruction_loss")
        for case in TEMPERATURE_CASES
    ],
    *[
        (op, "reduction", "max", ValueError, r"must be one of .* \(got 'max'\)")
        for op in ("info_nce", "info_nce_by_id", "lse_matmul", "reconstruction_loss")
    ],
    *[("neighbors", "table", *case) for case in TABLE_CASES],
    *[
        ("neighbors", "table", torch.tensor([[1.0], [float(x)]]), ValueError, r"got NaN .* row 1\)")
        for x in ("nan", "inf", "-inf")
    ],
    ("neighbors", "k", 0, ValueError, r"at least 1 \(got 0\)"),
    ("neighbors", "k", -2, ValueError, r"at least 1 \(got -2\)"),
    ("neighbors", "k", 2**40, ValueError, r"at most 2\^31 \(got"),
    ("neighbors", "k", 1.0, TypeError, "an integer"),
    ("neighbors", "k", True, TypeError, r"an integer \(got bool\)"),
    ("neighbor_overlap", "first", [[0]], TypeError, r"a tensor \(got list\)"),
    ("neighbor_overlap", "first", torch.zeros(1, 2), TypeError, "of type int64"),
    ("neighbor_overlap", "second", torch.tensor([1]), ValueError, r"two dimensions \(got \(1,\)"),
    ("neighbor_overlap", "second", torch.tensor([[1], [2]]), ValueError, "1 rows like first"),
    ("neighbor_overlap", "second", torch.zeros(1, 2).int(), TypeError, "of type int64"),
    ("neighbor_overlap", "second", torch.ones(1, 2, device=META).long(), ValueError, "on cpu like"),
    ("neighbor_overlap", "second", torch.tensor([[1, 2, 1]]), ValueError, r"twice \(got row 0\)"),
    ("neighbor_overlap", "first", torch.tensor([[3, 3]]), ValueError, r"twice \(got row 0\)"),
    ("info_nce", "positive", torch.ones(1, 3), ValueError, r"shape \(2, 3\) like query \(got \(1"),
    ("info_nce", "candidates", torch.ones(4, 2), ValueError, r"3 columns like query \(got 2\)"),
    ("info_nce", "candidates", torch.ones(0, 3), ValueError, "must have at least one row"),
    ("info_nce", "candidates", torch.ones(4, 3).double(), TypeError, "must be of query's type"),
    ("info_nce", "candidates", torch.ones(4, 3, device=META), ValueError, "on cpu like query"),
    ("info_nce", "eps", -1.0, ValueError, r"must be finite and not negative \(got -1.0\)"),
    ("info_nce", "query_weight", torch.ones(3), ValueError, r"shape \(2,\) \(got \(3,\)\)"),
    ("info_nce", "query_weight", [1.0, 1.0], TypeError, r"must be a tensor \(got list\)"),
    ("info_nce", "candidate_weight", torch.ones(4, 1), ValueError, r"shape \(4,\) \(got \(4, 1"),
    *[
        (
            "info_nce",
            "candidate_weight",
            torch.tensor([1, 1, bad, 1]),
            ValueError,
            "candidate_weight",
        )
        for bad in (-1.0, float("nan"), float("inf"))
    ],
    *[("info_nce_by_id", "ids", *case) for case in IDS_CASES],
    *[("distinct", "ids", *case) for case in IDS_CASES],
    *[
        ("distinct", "ids", torch.tensor([0, bad]), ValueError, rf"in \[0, 4\) \(got {bad} at")
        for bad in (4, -1)
    ],
    *[("gather", "rows", *case) for case in IDS_CASES],
    *[("gather", "table", *case) for case in TABLE_CASES],
    *[
        ("gather", "rows", torch.tensor([0, bad]), ValueError, rf"in \[0, 4\) \(got {bad} at")
        for bad in (4, -1)
    ],
    ("distinct", "size", -1, ValueError, r"negative \(got -1"),
    ("distinct", "size", 2.0, TypeError, "integer"),
    *[
        (
            "info_nce_by_id",
            "ids",
            torch.tensor([0, bad]),
            ValueError,
            rf"in \[0, 4\) \(got {bad} at position 1",
        )
        for bad in (4, -1)
    ],
    ("info_nce_by_id", "candidates", "some", ValueError, r"'all' or 'batch' \(got 'some'\)"),
    ("info_nce_by_id", "candidate_table", torch.ones(5, 3), ValueError, r"\(4, 3\) like query_t"),
    ("lse_matmul", "weights", torch.ones(2), ValueError, r"shape \(4,\) \(got \(2,\)\)"),
    ("lse_matmul", "weights", torch.tensor([1, 1, -2.0, 1]), ValueError, "weights"),
    ("reconstruction_loss", "y", torch.ones(3, 3), ValueError, r"shape \(2, 3\) like x"),
    ("reconstruction_loss", "delta", -1e-8, ValueError, r"must be finite and not negative \(got"),
]
EDGE_TABLES = {"edge_attention": ("query", "key", "value"), "adaptive_propagate": ("message", "x")}
EDGE_CASES = [
    *[(op, x, *case) for op, names in EDGE_TABLES.items() for x in names for case in TABLE_CASES],
    *[
        (op, x, torch.zeros(69, 6), ValueError, r"must have 70 rows \(got 69\)")
        for op, names in EDGE_TABLES.items()
        for x in names
    ],
    *[
        case
        for op, names in EDGE_TABLES.items()
        for x in names[1:]
        for case in (
            (op, x, torch.zeros(70, 5), ValueError, rf"columns like {names[0]} \(got 5\)"),
            (op, x, torch.zeros(70, 6).double(), TypeError, rf"{names[0]}'s type"),
            (op, x, torch.zeros(70, 6, device=META), ValueError, rf"on cpu like {names[0]}"),
        )
    ],
    *[
        (op, "graph", graph, TypeError, r"must be an InteractionGraph or a SymmetricGraph \(got ")
        for op in EDGE_TABLES
        for graph in (MATRIX, None)
    ],
    *[
        ("edge_attention", "num_heads", value, error, r"must be .* \(got ")
        for value, error in ((0, ValueError), (-1, ValueError), (4, ValueError), (2.0, TypeError))
    ],
    ("edge_attention", "num_heads", True, TypeError, r"must be an integer \(got bool\)"),
    *[
        ("edge_attention", "clamp", value, ValueError, r"must be in \(0, 80\] \(got ")
        for value in (0.0, -1.0, 81.0, float("nan"))
    ],
    *[
        ("edge_attention", "eps", value, ValueError, r"must be finite and not negative \(got ")
        for value in (-1e-9, float("inf"), float("nan"))
    ],
]
CASES = [
    *CONTRAST_CASES,
    *EDGE_CASES,
    *[("propagate", "x", *case) for case in TABLE_CASES],
    ("propagate", "x", torch.zeros(69, 2), ValueError, r"must have 70 rows \(got 69\)"),
    ("propagate", "x", torch.zeros(70, 2, device=META), ValueError, "on meta like x"),
    ("propagate", "graph", MATRIX, TypeError, r"must be an InteractionGraph \(got WeightedGraph\)"),
    ("propagate", "num_layers", -1, ValueError, r"must not be negative \(got -1\)"),
    ("propagate", "num_layers", 1.0, TypeError, r"must be an integer \(got float\)"),
    ("propagate", "num_layers", True, TypeError, r"must be an integer \(got bool\)"),
    ("propagate", "combine", "max", ValueError, r"must be one of .* \(got 'max'\)"),
    ("propagate", "combine", 0, ValueError, r"must be one of .* \(got 0\)"),
    *[("propagate", "keep_rate", *case) for case in RATE_CASES],
    *[
        ("propagate", "noise", value, ValueError, r"must be finite and not negative \(got ")
        for value in (-1e-3, float("inf"), float("nan"))
    ],
    *[("propagate", "seed", *case) for case in SEED_CASES],
    *[("propagate", "rows", *case) for case in IDS_CASES],
    *[
        ("propagate", "rows", torch.tensor([0, bad]), ValueError, rf"\[0, 70\) \(got {bad} at pos")
        for bad in (70, -1, 2**40)
    ],
    *[("propagated_bpr_loss", "x", *case) for case in TABLE_CASES],
    ("propagated_bpr_loss", "x", torch.zeros(69, 2), ValueError, r"must have 70 rows \(got 69\)"),
    ("propagated_bpr_loss", "graph", MATRIX, TypeError, r"must be an InteractionGraph \(got Weigh"),
    ("propagated_bpr_loss", "num_layers", -1, ValueError, r"must not be negative \(got -1\)"),
    ("propagated_bpr_loss", "combine", "max", ValueError, r"must be one of .* \(got 'max'\)"),
    *[("propagated_bpr_loss", "keep_rate", *case) for case in RATE_CASES],
    *[("propagated_bpr_loss", "seed", *case) for case in SEED_CASES],
    *[
        ("propagated_bpr_loss", name, *case)
        for name in ("users", "positives", "negatives")
        for case in (
            *IDS_CASES,
            (torch.tensor([0, 70]), ValueError, r"\[0, 70\) \(got 70 at position 1\)"),
            (torch.tensor([-1, 0]), ValueError, r"\[0, 70\) \(got -1 at position 0\)"),
            (IDS.to(META), ValueError, "must be on cpu like x"),
        )
    ],
    ("propagated_bpr_loss", "negatives", IDS[:1], ValueError, r"2 elements like users \(got 1\)"),
    ("edge_mask", "graph", MATRIX, TypeError, r"must be an InteractionGraph \(got WeightedGraph\)"),
    *[("edge_mask", "keep_rate", *case) for case in RATE_CASES],
    *[("edge_mask", "seed", *case) for case in SEED_CASES],
    *[("spmm", "x", *case) for case in TABLE_CASES],
    ("spmm", "x", torch.zeros(19, 2), ValueError, r"must have 20 rows \(got 19\)"),
    ("spmm", "x", torch.zeros(20, 2, device=META), ValueError, "on meta like x"),
    ("spmm", "graph", GRAPH, TypeError, r"must be a WeightedGraph \(got InteractionGraph\)"),
    ("spmm", "values", torch.zeros(3), ValueError, rf"must have {ENTRIES} elements \(got \(3,\)\)"),
    ("spmm", "values", torch.zeros(ENTRIES, 1), ValueError, rf"must have {ENTRIES} elements"),
    ("spmm", "values", torch.zeros(ENTRIES).double(), TypeError, "must be of type torch.float32"),
    ("spmm", "values", [0.0], TypeError, r"must be a tensor \(got list\)"),
    *[
        ("bpr_loss", name, *case)
        for name in ("user_embedding", "item_embedding")
        for case in TABLE_CASES
    ],
    ("bpr_loss", "item_embedding", torch.zeros(4, 2), ValueError, "got 2 columns instead of 3"),
    ("bpr_loss", "item_embedding", torch.zeros(4, 3).double(), ValueError, "must have the columns"),
    ("bpr_loss", "item_embedding", torch.zeros(4, 3, device=META), ValueError, "must be on cpu"),
    *[
        ("bpr_loss", name, *case)
        for name in ("users", "positives", "negatives")
        for case in IDS_CASES
    ],
    ("bpr_loss", "users", torch.tensor([0, 2]), ValueError, r"\[0, 2\) \(got 2 at position 1\)"),
    ("bpr_loss", "positives", torch.tensor([4, 0]), ValueError, r"\[0, 4\) \(got 4 at"),
    ("bpr_loss", "negatives", torch.tensor([0, -1]), ValueError, r"\[0, 4\) \(got -1 at"),
    ("bpr_loss", "positives", torch.tensor([0]), ValueError, r"elements as users, 2 \(got 1"),
    ("bpr_loss", "reduction", "max", ValueError, r"must be one of .* \(got 'max'\)"),
    ("sample_negatives", "graph", None, TypeError, r"must be an InteractionGraph \(got NoneType"),
    *[("sample_negatives", "seed", *case) for case in SEED_CASES],
    ("lse_matmul", "query_weight", torch.ones(3), ValueError, r"must have shape \(2,\)"),
    ("lse_matmul", "query_weight", [1, 1], TypeError, r"must be a tensor \(got list\)"),
    *[("draw_seeds", "x", *case) for case in TABLE_CASES],
    ("draw_seeds", "x", torch.zeros(69, 2), ValueError, r"must have 70 rows \(got 69\)"),
    ("draw_seeds", "num_seeds", -1, ValueError, r"must be in \[0, 70\], .* \(got -1\)"),
    ("draw_seeds", "num_seeds", 71, ValueError, r"must be in \[0, 70\], .* \(got 71\)"),
    ("draw_seeds", "num_seeds", 2.0, TypeError, r"must be an integer \(got float\)"),
    *[("draw_seeds", "seed", *case) for case in SEED_CASES],
    *[
        (operator, "graph", *case)
        for operator in ("draw_seeds", "draw_subgraphs")
        for case in [
            (MATRIX, TypeError, r"must be an InteractionGraph \(got WeightedGraph\)"),
            (make_graph("loops"), ValueError, "must have no self-loops"),
        ]
    ],
    *[("draw_subgraphs", "seeds", *case) for case in IDS_CASES],
    *[
        ("draw_subgraphs", "seeds", torch.tensor([0, bad]), ValueError, rf"\(got {bad} at pos")
        for bad in (70, -1, 2**40)
    ],
    ("draw_subgraphs", "seeds", IDS.to(META), ValueError, "must be on cpu like graph"),
    ("draw_subgraphs", "mask_depth", 0, ValueError, r"must be at least 1 \(got 0\)"),
    ("draw_subgraphs", "mask_depth", 1.0, TypeError, r"must be an integer \(got float\)"),
    ("draw_subgraphs", "mask_depth", True, TypeError, r"must be an integer \(got bool\)"),
    *[("draw_subgraphs", "keep_rate", *case) for case in RATE_CASES],
    *[("draw_subgraphs", "seed", *case) for case in SEED_CASES],
    *[("rank", "user_embedding", *case) for case in TABLE_CASES],
    *[("rank", "item_embedding", *case) for case in TABLE_CASES],
    ("rank", "item_embedding", torch.zeros(4, 2), ValueError, "got 2 columns instead of 3"),
    ("rank", "item_embedding", torch.zeros(4, 3, device=META), ValueError, "must be on cpu"),
    ("rank", "k", 0, ValueError, r"must be positive \(got 0\)"),
    ("rank", "k", -3, ValueError, r"must be positive \(got -3\)"),
    ("rank", "k", 1.0, TypeError, r"must be an integer \(got float\)"),
    ("rank", "k", True, TypeError, r"must be an integer \(got bool\)"),
    ("ranking_metrics", "items", torch.zeros(2, 5), TypeError, "must be an int64 tensor"),
    ("ranking_metrics", "items", torch.zeros(2).long(), TypeError, "two dimensions"),
    ("ranking_metrics", "items", [[1]], TypeError, "must be an int64 tensor"),
    *[
        ("ranking_metrics", "cutoffs", cutoffs, ValueError, r"must be in \[1, 5\].* \(got \d\)")
        for cutoffs in ((0,), (6,), (1, 5, 6))
    ],
    ("ranking_metrics", "cutoffs", (), ValueError, "must not be empty"),
    ("ranking_metrics", "cutoffs", (2.5,), TypeError, r"must be of type int64"),
    ("squared_norm", "x", torch.zeros(3).long(), TypeError, r"\(got torch.int64\)"),
    *[
        (operator, name, *case)
        for operator, name in (("rank", "exclude"), ("ranking_metrics", "held_out"))
        for case in [
            (OFFSETS, TypeError, "must be a pair of tensors"),
            ((OFFSETS,), TypeError, "must be a pair of tensors"),
            ((OFFSETS[:2], ITEMS), ValueError, r"offsets must have 3 elements \(got 2\)"),
            ((OFFSETS + 1, ITEMS), ValueError, r"offsets must go from 0 to 2 \(got 1 to 3\)"),
            ((OFFSETS, ITEMS[:1]), ValueError, r"offsets must go from 0 to 1 \(got 0 to 2\)"),
            ((torch.tensor([0, 3, 2]), ITEMS), ValueError, r"not decrease \(got 2 after 3\)"),
            ((OFFSETS.float(), ITEMS), TypeError, "offsets must be of type int64 or int32"),
            ((OFFSETS, ITEMS.float()), TypeError, "items must be of type int64 or int32"),
            ((OFFSETS, ITEMS.view(2, 1)), ValueError, "items must have one dimension"),
        ]
    ],
]


@pytest.mark.parametrize("operator", GOOD)
def test_the_arguments_that_the_cases_change_are_good(operator):
    getattr(ops, operator)(**GOOD[operator])


@pytest.mark.parametrize(
    ("operator", "name", "value", "error", "message"),
    [pytest.param(*case, id=f"{case[0]}-{case[1]}-{i}") for i, case in enumerate(CASES)],
)
def test_a_wrong_argument_is_refused_by_name(operator, name, value, error, message):
    with pytest.raises(error, match=message) as caught:
        getattr(ops, operator)(**GOOD[operator] | {name: value})
    assert str(caught.value).startswith(f"{operator}: ")
    assert name in str(caught.value)
