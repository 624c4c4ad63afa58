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
    "bpr_loss": {
        "user_embedding": torch.zeros(2, 3),
        "item_embedding": torch.zeros(4, 3),
        "users": IDS,
        "positives": IDS,
        "negatives": IDS,
    },
    "sample_negatives": {"graph": GRAPH, "seed": 0},
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
CASES = [
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
