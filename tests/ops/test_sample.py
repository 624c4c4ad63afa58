from __future__ import annotations

import pytest
import torch
from graphs import NAMES, make_graph

from rlmrec_fast.graph import InteractionGraph
from rlmrec_fast.ops import reference, sample_negatives
from rlmrec_fast.ops.sample import _refuse_full_user


def all_but(missing: list[list[int]], num_items: int) -> InteractionGraph:
    """A graph whose users have every item but their missing ones."""
    pairs = [
        (user, item)
        for user, items in enumerate(missing)
        for item in range(num_items)
        if item not in items
    ]
    users, items = zip(*pairs, strict=True)
    return InteractionGraph.from_pairs(users, items, len(missing), num_items)


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"single", "star"}))
def test_negatives_are_exactly_those_of_the_reference(name):
    graph = make_graph(name)
    for seed in (0, 5, 2**63 - 1):
        ours = sample_negatives(graph, seed)
        assert ours.dtype == torch.int64
        assert torch.equal(ours, reference.sample_negatives(graph, seed))


def test_a_negative_is_never_a_positive_and_covers_all_items(parts_graph):
    users, items = parts_graph.interactions()
    positives = set(zip(users.tolist(), items.tolist(), strict=True))
    drawn = set()
    for seed in range(5):
        negatives = sample_negatives(parts_graph, seed).tolist()
        assert positives.isdisjoint(zip(users.tolist(), negatives, strict=True))
        drawn.update(negatives)
    assert drawn == set(range(parts_graph.num_items))


def test_negatives_are_uniform_over_the_items_without_interaction():
    missing = [0, 3, 4, 9, 17, 18, 19, 22]
    graph = all_but([missing], 23)
    counts = torch.zeros(23)
    for seed in range(600):
        counts += torch.bincount(sample_negatives(graph, seed), minlength=23)
    expected = counts.sum() / len(missing)
    chi_square = float(((counts[missing] - expected).square() / expected).sum())
    freedom = len(missing) - 1
    assert counts.sum() == counts[missing].sum() == 600 * 15
    assert abs(chi_square - freedom) < 5 * (2 * freedom) ** 0.5


def test_interactions_of_one_user_and_neighbouring_seeds_draw_independently():
    graph = all_but([list(range(10))], 40)
    draws = torch.stack([sample_negatives(graph, seed) for seed in range(400)])
    for a, b in ((draws[:, :-1], draws[:, 1:]), (draws[:-1], draws[1:])):
        equal = int((a == b).sum())
        sigma = (a.numel() * 0.1 * 0.9) ** 0.5
        assert abs(equal - 0.1 * a.numel()) < 5 * sigma


def test_the_only_missing_item_is_always_drawn():
    for item in (0, 11, 22):
        graph = all_but([[item]], 23)
        assert (sample_negatives(graph, 3) == item).all()


def test_the_result_depends_on_the_seed_alone(parts_graph):
    first = sample_negatives(parts_graph, 4)
    torch.manual_seed(99)
    assert torch.equal(first, sample_negatives(parts_graph, 4))
    assert torch.equal(first, sample_negatives(parts_graph, torch.tensor(4)))
    assert not torch.equal(first, sample_negatives(parts_graph, 5))


def test_a_user_who_has_all_items_is_refused_by_number():
    graph = all_but([[1], [], [2]], 4)
    message = (
        r"^sample_negatives: graph must leave every user at least one item without interaction "
        r"\(got user 1 with all 4 items\)$"
    )
    with pytest.raises(ValueError, match=message):
        sample_negatives(graph, 0)
    assert graph.has_full_user
    with pytest.raises(ValueError, match=message):
        _refuse_full_user(graph)  # as for a device's graph
    none = graph.offsets[:0]
    empty = graph._part(torch.zeros_like(graph.offsets), none.int(), none, graph.partition)
    _refuse_full_user(empty)


def test_graphs_know_whether_a_user_may_have_all_items(random_graph):
    assert not random_graph.has_full_user
    assert make_graph("single").has_full_user


def test_users_without_interactions_need_no_negatives():
    graph = InteractionGraph.from_pairs([2], [0], 4, 2)
    assert sample_negatives(graph, 1).tolist() == [1]
    assert sample_negatives(make_graph("empty"), 1).tolist() == []


def test_wrong_arguments_are_refused_by_name(random_graph):
    with pytest.raises(TypeError, match=r"^sample_negatives: graph must be .* \(got str\)"):
        sample_negatives("graph", 0)
    with pytest.raises(ValueError, match=r"^sample_negatives: seed must be in"):
        sample_negatives(random_graph, -1)
