from __future__ import annotations

import pytest
import torch
from graphs import NAMES, make_graph
from helpers import same_bits

from rlmrec_fast.graph import InteractionGraph
from rlmrec_fast.ops import edge_mask, propagate, reference

SEEDS = (0, 1, 2**31, 2**32 + 5, 2**63 - 1)


@pytest.mark.parametrize("name", NAMES)
def test_the_mask_is_exactly_the_one_of_the_reference(name):
    graph = make_graph(name)
    for seed in SEEDS[:2] if name == "star" else SEEDS:
        for keep_rate in (1.0, 1 - 1e-12, 0.8, 0.5, 1e-3):
            ours = edge_mask(graph, keep_rate, seed)
            assert ours.dtype == torch.bool
            assert torch.equal(ours, reference.edge_mask(graph, keep_rate, seed))


def test_edges_are_kept_at_the_asked_rate(parts_graph):
    edges = parts_graph.columns.shape[0]
    for keep_rate in (0.05, 0.5, 0.8, 0.99):
        kept = sum(int(edge_mask(parts_graph, keep_rate, seed).sum()) for seed in range(25))
        sigma = (25 * edges * keep_rate * (1 - keep_rate)) ** 0.5
        assert abs(kept - 25 * edges * keep_rate) < 5 * sigma


def test_rows_columns_and_seeds_keep_edges_independently(parts_graph):
    # An edge, its reverse, its neighbour in the row, and itself under another seed.
    for keep_rate in (0.3, 0.8):
        masks = [edge_mask(parts_graph, keep_rate, seed) for seed in range(25)]
        pairs = {
            "reverse": [(mask, mask[parts_graph.reverse]) for mask in masks],
            "neighbour": [(mask[1:], mask[:-1]) for mask in masks],
            "next seed": list(zip(masks[1:], masks[:-1], strict=True)),
        }
        for name, cases in pairs.items():
            both = sum(int((a & b).sum()) for a, b in cases)
            trials = sum(len(a) for a, _ in cases)
            expected = keep_rate**2
            # Pairs share edges, which at most doubles the variance.
            sigma = (2 * trials * expected * (1 - expected)) ** 0.5
            assert abs(both - trials * expected) < 5 * sigma, name


def test_every_node_keeps_its_share_of_edges(star_graph):
    # The hub's 100,000 entries lie in chunks of several parts.
    hub = star_graph.num_users
    begin, end = star_graph.offsets[hub : hub + 2].tolist()
    kept = int(edge_mask(star_graph, 0.7, 3)[begin:end].sum())
    assert end - begin == 100_000
    assert abs(kept - 70_000) < 5 * (100_000 * 0.21) ** 0.5


@pytest.mark.parametrize("name", ["random", "loops"])
def test_every_layer_multiplies_with_the_masked_edges_alone(name):
    graph = make_graph(name)
    mask = edge_mask(graph, 0.6, 21)
    n = graph.num_nodes
    scale = graph.inv_sqrt_degrees
    columns = graph.columns.long()
    rows = reference.edge_rows(graph)
    matrix = torch.zeros(n, n, dtype=torch.float64)
    matrix[rows, columns] = scale[rows] * scale[columns] * mask
    x = torch.randn(n, 5, dtype=torch.float64)
    layers = [x, matrix @ x, matrix @ (matrix @ x)]
    result = propagate(x, graph, 2, combine="concat", keep_rate=0.6, seed=21)
    torch.testing.assert_close(result, torch.cat(layers, dim=1))


def test_kept_edges_are_not_rescaled():
    graph = make_graph("single")
    x = torch.tensor([[2.0], [3.0]])
    results = {
        tuple(propagate(x, graph, 1, combine="last", keep_rate=0.5, seed=seed).flatten().tolist())
        for seed in range(60)
    }
    assert results == {(3.0, 2.0), (0.0, 2.0), (3.0, 0.0), (0.0, 0.0)}


def test_a_seed_may_be_a_number_or_a_tensor(random_graph):
    x = torch.randn(70, 5)
    for seed in SEEDS:
        for tensor in (torch.tensor(seed), torch.tensor([seed]), torch.tensor([[seed]])):
            ours = propagate(x, random_graph, 2, keep_rate=0.5, seed=tensor)
            assert same_bits(ours, propagate(x, random_graph, 2, keep_rate=0.5, seed=seed))
            mask = edge_mask(random_graph, 0.5, tensor)
            assert torch.equal(mask, edge_mask(random_graph, 0.5, seed))


def test_the_same_seed_gives_the_same_bits_and_another_seed_other_bits(random_graph):
    x = torch.randn(70, 5)
    first = propagate(x, random_graph, 2, keep_rate=0.5, seed=5)
    torch.manual_seed(123)
    assert same_bits(first, propagate(x, random_graph, 2, keep_rate=0.5, seed=5))
    assert not torch.equal(first, propagate(x, random_graph, 2, keep_rate=0.5, seed=6))


def test_the_mask_of_an_edge_depends_on_its_nodes_and_the_seed_alone(random_graph):
    users, items = random_graph.interactions()
    fewer = InteractionGraph.from_pairs(users[::2], items[::2], 40, 30)
    kept = edge_mask(random_graph, 0.5, 7)
    rows, columns = reference.edge_rows(random_graph), random_graph.columns
    decisions = dict(zip(zip(rows.tolist(), columns.tolist(), strict=True), kept, strict=True))
    edges = zip(reference.edge_rows(fewer).tolist(), fewer.columns.tolist(), strict=True)
    expected = torch.stack([decisions[edge] for edge in edges])
    assert torch.equal(edge_mask(fewer, 0.5, 7), expected)
