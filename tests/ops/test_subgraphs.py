"""AutoCF's seeds and graphs."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from graph_checks import assert_same
from graphs import make_graph
from helpers import assert_error_budget, epsilon

from rlmrec_fast import SymmetricGraph, ops
from rlmrec_fast.graph import InteractionGraph
from rlmrec_fast.ops import draw_seeds, draw_subgraphs, reference
from rlmrec_fast.ops.reference import edge_rows, gumbel_noise
from rlmrec_fast.padded import PaddedGraph

SIZES = ("random", "empty", "single", "parts")


def edges(graph: InteractionGraph | SymmetricGraph) -> set[tuple[int, int]]:
    return set(zip(edge_rows(graph).tolist(), graph.columns.tolist(), strict=True))


def path_graph(length: int = 5) -> InteractionGraph:
    """User 0, item 0, user 1, item 1, ..: each with its neighbours on the way."""
    users = [*range(length), *range(1, length)]
    return InteractionGraph.from_pairs(users, [*range(length), *range(length - 1)], length, length)


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("mask_depth", [1, 2, 3, 4, 2**62])
def test_graphs_are_exactly_those_of_the_reference(name, mask_depth):
    graph = make_graph(name)
    for keep_rate in (1e-9, 0.2, 1.0):
        for count in (0, 1, 3, graph.num_nodes):
            seeds = torch.randint(graph.num_nodes, (count,))
            for seed in (0, 2**63 - 1):
                drawn = draw_subgraphs(graph, seeds, mask_depth, keep_rate, seed)
                twins = reference.draw_subgraphs(graph, seeds, mask_depth, keep_rate, seed)
                for ours, twin in zip(drawn, twins, strict=True):
                    assert_same(ours, twin)


@pytest.mark.parametrize("mask_depth", [1, 2, 3, 4])
def test_a_search_masks_its_levels_and_their_edges(mask_depth):
    graph = path_graph()
    place = torch.tensor([place for n in range(5) for place in (n, 5 + n)])  # along the way
    encoder, decoder = draw_subgraphs(graph, place[4:5], mask_depth, 1e-9, 0)
    left = [n for n in range(10) if abs(n - 4) >= mask_depth]
    steps = [(n, n + 1) for n in left if n + 1 in left]
    wanted = {(int(place[a]), int(place[b])) for a, b in steps}
    assert edges(encoder) == wanted | {(b, a) for a, b in wanted}
    masked = {int(place[n]) for n in range(10) if n not in left}
    new = edges(decoder) - edges(encoder) - {(n, n) for n in range(10)}
    assert new <= {(a, b) for a in masked for b in masked}
    assert bool(new) is (len(masked) > 1)


def test_a_hub_takes_its_edges_with_it(star_graph):
    hub = torch.tensor([100_000])
    encoder, decoder = draw_subgraphs(star_graph, hub, 1, 1e-9, 3)
    assert edges(encoder) == {(n, 100_001) for n in range(3)} | {(100_001, n) for n in range(3)}
    assert len(decoder.columns) == 100_002 + 6  # the hub is the only candidate
    encoder, _ = draw_subgraphs(star_graph, hub, 2, 1e-9, 3)
    assert encoder.num_interactions == 0
    assert encoder.partition.tolist() == [[0, 0], [100_002, 0]]


def test_the_encoder_is_a_whole_graph(tmp_path, parts_graph):
    encoder, _ = draw_subgraphs(parts_graph, torch.arange(3), 2, 0.2, 1)
    assert 0 < encoder.num_interactions < parts_graph.num_interactions
    again = InteractionGraph.from_pairs(*encoder.interactions(), 3000, 500)
    assert_same(encoder, again)
    encoder.save(tmp_path / "graph.npz")
    assert_same(encoder, InteractionGraph.load(tmp_path / "graph.npz"))


def test_the_decoder_is_a_symmetric_graph_with_loops_and_the_encoders_edges(parts_graph):
    encoder, decoder = draw_subgraphs(parts_graph, torch.arange(3), 2, 0.2, 1)
    assert_same(decoder, SymmetricGraph.from_csr(decoder.offsets, decoder.columns))
    found = edges(decoder)
    assert edges(encoder) < found
    assert {(n, n) for n in range(3500)} < found


def test_new_edges_are_uniform_among_candidates():
    # Without interactions but one there is no encoder left, and one pair is drawn each way.
    users = np.arange(40).repeat(10)
    graph = InteractionGraph.from_pairs(users, np.tile(np.arange(10), 40), 40, 10)
    counts, rounds = torch.zeros(50, 50), 60
    for seed in range(rounds):
        _, decoder = draw_subgraphs(graph, torch.arange(50), 1, 1e-9, seed)
        counts[edge_rows(decoder), decoder.columns.long()] += 1
    assert (counts.diagonal() == rounds).all()
    pairs = counts[~torch.eye(50, dtype=torch.bool)]
    share = 1 - (1 - 2 / 2500) ** 800  # of 800 draws one is (r, c) or (c, r)
    assert abs(pairs.mean() / rounds - share) < 0.01
    assert abs(pairs.var() / (rounds * share * (1 - share)) - 1) < 0.15


def test_random_candidates_are_drawn_with_replacement():
    graph = make_graph("parts")
    shares = []
    for seed in range(5):
        _, decoder = draw_subgraphs(graph, torch.arange(0), 1, 0.5, seed)
        lengths = decoder.offsets.diff() - graph.offsets.diff() - 1
        shares.append((lengths > 0).double().mean())
    assert abs(np.mean(shares) - (1 - math.exp(-0.5))) < 0.01


def test_the_seed_alone_decides(parts_graph):
    seeds = torch.tensor([5, 9, 5])
    first = draw_subgraphs(parts_graph, seeds, 2, 0.3, 4)
    torch.manual_seed(99)
    again = draw_subgraphs(parts_graph, seeds[:2].flip(0).int(), 2, 0.3, torch.tensor(4))
    for ours, other in zip(first, again, strict=True):
        assert_same(ours, other)
    encoder, decoder = draw_subgraphs(parts_graph, seeds, 2, 0.3, 5)
    assert_same(encoder, first[0])
    assert not torch.equal(decoder.columns, first[1].columns)


def expected_when_padded(exact, room: int, boundaries: int) -> dict[str, torch.Tensor]:
    """The tensors of a graph with zeros behind its edges and empty parts behind its parts."""
    tensors = {key: value for key, value in vars(exact).items() if isinstance(value, torch.Tensor)}
    for key in tensors.keys() & {"columns", "reverse"}:
        tensors[key] = torch.nn.functional.pad(tensors[key], (0, room - len(tensors[key])))
    last = tensors["partition"][-1:].expand(boundaries - len(tensors["partition"]), 2)
    return {**tensors, "partition": torch.cat([tensors["partition"], last])}


@pytest.mark.parametrize("name", [*SIZES, "star"])
@pytest.mark.parametrize("seeds", [0, 1, 40])
def test_padded_graphs_have_the_same_edges_and_one_size(name, seeds):
    graph = make_graph(name)
    arguments = (graph, torch.randint(graph.num_nodes, (seeds,)), 2, 0.2, 3)
    nodes, entries = graph.num_nodes, len(graph.columns)
    pairs = nodes + 3 * entries
    boundaries = 2 * (nodes + pairs) // 4096 + 2
    rooms = (entries, pairs)
    exact, padded = draw_subgraphs(*arguments), draw_subgraphs(*arguments, padded=True)
    for ours, other, room in zip(padded, exact, rooms, strict=True):
        wanted = expected_when_padded(other, room, boundaries)
        found = {key: value for key, value in vars(ours).items() if isinstance(value, torch.Tensor)}
        assert found.keys() == {key for key in wanted if key.strip("_")[:4] not in ("user", "item")}
        for key, value in found.items():
            assert value.dtype == wanted[key].dtype, key
            assert torch.equal(value, wanted[key]), key


@pytest.mark.parametrize("name", [*SIZES, "star"])
def test_work_on_padded_graphs_gives_the_same_bits(name):
    graph = make_graph(name)
    x = torch.randn(graph.num_nodes, 6, requires_grad=True)
    results = []
    for padded in (False, True):
        seeds = torch.arange(min(3, graph.num_nodes))
        encoder, decoder = draw_subgraphs(graph, seeds, 1, 0.3, 5, padded)
        tables = [
            ops.propagate(x, encoder, 2, keep_rate=0.7, seed=3, noise=0.1),
            ops.edge_attention(x, x.sin(), x, decoder, 2),
            ops.adaptive_propagate(x, x, encoder),
            ops.adaptive_propagate(x, x, decoder),
        ]
        loss = sum((table * torch.linspace(0, 1, 6)).sum() for table in tables)
        results.append([*tables, *torch.autograd.grad(loss, x)])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_a_padded_graph_does_not_tell_what_it_does_not_know(tmp_path, random_graph):
    encoder, _ = draw_subgraphs(random_graph, torch.arange(2), 2, 0.2, 1, padded=True)
    room = len(random_graph.columns)
    assert isinstance(encoder, PaddedGraph)
    assert encoder.to("cpu") is encoder
    assert repr(encoder) == f"PaddedGraph(num_users=40, num_items=30, room={room}, device='cpu')"
    message = "PaddedGraph: _?user.* must be asked of a graph that is not padded"
    for look in (
        InteractionGraph.interactions,
        lambda graph: ops.sample_negatives(graph, 1),
        lambda graph: graph.save(tmp_path / "graph.npz"),
    ):
        with pytest.raises(AttributeError, match=message):
            look(encoder)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match=r"offsets must go from 0 to \d+ \(got 0 to \d+\)"):
        ops.edge_mask(encoder, 0.5, 1)


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_scores_and_their_gradients_stay_in_the_error_budget(name, dtype):
    graph = make_graph(name)
    x = torch.randn(graph.num_nodes, 7, dtype=dtype, requires_grad=True)
    exact = x.detach().double().requires_grad_()
    upstream = torch.randn(graph.num_nodes)
    results = []
    for operator, table in (
        (draw_seeds, x),
        (reference.draw_seeds, x),
        (reference.draw_seeds, exact),
    ):
        _, scores = operator(table, graph, 1, 7)
        (grad,) = torch.autograd.grad(scores, table, upstream.to(table.dtype))
        results.append((scores, grad))
    for ours, twin, truth in zip(*results, strict=True):
        size = float(truth.detach().abs().max())
        assert_error_budget(ours, twin, truth, 300 * epsilon(dtype) * size)


def test_derivatives_are_those_of_finite_differences():
    graph = make_graph("random")
    x = torch.randn(graph.num_nodes, 3, dtype=torch.float64)
    x[5], x[60] = 0, 0  # rows without a direction
    kept = torch.ones(graph.num_nodes, dtype=torch.bool).index_fill(0, torch.tensor([5, 60]), False)
    leaf = x[kept].requires_grad_()

    def scores(rows):
        return draw_seeds(x.masked_scatter(kept[:, None], rows), graph, 0, 3)[1]

    assert torch.autograd.gradcheck(scores, leaf)


def test_rows_without_direction_have_the_gradient_of_normalize():
    graph = make_graph("random")
    x = torch.randn(graph.num_nodes, 3, dtype=torch.float64)
    x[:20] = 0
    grads = []
    for operator in (draw_seeds, reference.draw_seeds):
        leaf = x.clone().requires_grad_()
        operator(leaf, graph, 0, 3)[1].sum().backward()
        grads.append(leaf.grad)
    torch.testing.assert_close(*grads, rtol=1e-9, atol=1e-9)


def test_scores_are_differentiated_once():
    x = torch.randn(70, 3, requires_grad=True)
    _, scores = draw_seeds(x, make_graph("random"), 3, 1)
    (grad,) = torch.autograd.grad(scores.sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match=r"seed_scores: must be differentiated once"):
        grad.sum().backward()


@pytest.mark.parametrize("count", [0, 1, 100, 3500])
def test_seeds_are_the_highest_scores_lower_ids_first(parts_graph, count):
    x = torch.randn(3500, 4)
    seeds, scores = draw_seeds(x, parts_graph, count, 3)
    assert seeds.dtype == torch.int64
    order = sorted(range(3500), key=lambda node: (-scores[node].item(), node))
    assert seeds.tolist() == order[:count]


def test_nodes_like_their_neighbourhood_are_seeds_more_often(parts_graph):
    x = torch.full((3500, 4), 0.1)
    x[:1000] *= -1
    counts = torch.zeros(3500)
    for seed in range(200):
        counts[draw_seeds(x, parts_graph, 100, seed)[0]] += 1
    _, scores = draw_seeds(x.double(), parts_graph, 0, 0)
    likeness = scores - gumbel_noise(3500, 0)
    alike = likeness > likeness.median()
    assert counts[alike].mean() > 1.1 * counts[~alike].mean()


def test_noise_has_gumbels_distribution():
    noise = torch.cat([gumbel_noise(20_000, seed) for seed in range(5)])
    assert noise.isfinite().all()
    assert abs(noise.mean() - 0.5772157) < 0.02
    assert abs(noise.var() - math.pi**2 / 6) < 0.05


def test_16_bit_tables_are_read_as_float32(random_graph):
    x = torch.randn(70, 5).bfloat16()
    ours, wide = (draw_seeds(table, random_graph, 9, 2) for table in (x, x.float()))
    assert all(torch.equal(a, b) for a, b in zip(ours, wide, strict=True))


def test_rows_may_be_apart(random_graph):
    x = torch.randn(70, 12)[:, ::2]
    ours, whole = (draw_seeds(table, random_graph, 9, 2) for table in (x, x.contiguous()))
    assert all(torch.equal(a, b) for a, b in zip(ours, whole, strict=True))
