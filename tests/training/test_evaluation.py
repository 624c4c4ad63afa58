from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from rlmrec_fast.training.evaluation import Evaluator, evaluate


def brute_force(scores, train, held_out, cutoff):
    """Recall@K and NDCG@K from their definitions, user by user."""
    recalls, gains = [], []
    for user in range(len(scores)):
        wanted = set(np.flatnonzero(held_out[user]))
        if not wanted:
            continue
        candidates = [item for item in range(scores.shape[1]) if not train[user, item]]
        ranking = sorted(candidates, key=lambda item: (-scores[user, item], item))[:cutoff]
        hits = [item in wanted for item in ranking]
        best = sum(1 / np.log2(place + 2) for place in range(min(cutoff, len(wanted))))
        recalls.append(sum(hits) / len(wanted))
        gains.append(sum(hit / np.log2(place + 2) for place, hit in enumerate(hits)) / best)
    return np.mean(recalls), np.mean(gains)


def random_split(users, items, seed):
    rng = np.random.default_rng(seed)
    part = rng.choice(4, (users, items), p=[0.6, 0.2, 0.1, 0.1])
    part[rng.random(users) < 0.3] %= 2  # users with training items only
    part[3] = 2  # everything of this user is held out
    part[5, :-2] = 1  # two items are left to rank for this one
    return part == 1, part == 2, part == 3


@pytest.mark.parametrize("seed", range(3))
def test_metrics_equal_a_brute_force_over_all_items(seed):
    train, held_out, _ = random_split(37, 29, seed)
    rng = np.random.default_rng(seed)
    # Small integers: products are exact and ties are many.
    users, items = rng.integers(-2, 3, (37, 4)), rng.integers(-2, 3, (29, 4))
    metrics = evaluate(
        torch.from_numpy(users).float(),
        torch.from_numpy(items).float(),
        sp.csr_array(train),
        sp.csr_array(held_out),
        cutoffs=(1, 5, 20, 29, 40),
    )
    assert list(metrics)[:2] == ["recall@1", "recall@5"]
    for cutoff in (1, 5, 20, 29, 40):
        recall, ndcg = brute_force(users @ items.T, train, held_out, cutoff)
        assert metrics[f"recall@{cutoff}"] == pytest.approx(recall, abs=1e-12)
        assert metrics[f"ndcg@{cutoff}"] == pytest.approx(ndcg, abs=1e-12)


def test_training_items_are_removed_and_validation_items_are_not():
    # Item 0 scores highest, then 1, then 2; 0 is in training, 1 in validation, 2 in test.
    train, validation, test = (sp.csr_array(np.eye(1, 3, item)) for item in range(3))
    user, items = torch.ones(1, 1), torch.tensor([[3.0], [2.0], [1.0]])
    assert evaluate(user, items, train, validation, (1,))["recall@1"] == 1
    assert evaluate(user, items, train, test, (1, 2)) == {
        "recall@1": 0.0,
        "recall@2": 1.0,
        "ndcg@1": 0.0,
        "ndcg@2": pytest.approx(1 / np.log2(3)),
    }


def test_users_without_held_out_items_do_not_count():
    train = sp.csr_array(np.array([[1, 0, 0], [0, 1, 0]]))
    held_out = sp.csr_array(np.array([[0, 0, 0], [0, 0, 1]]))
    users, items = torch.tensor([[1.0], [1.0]]), torch.tensor([[1.0], [1.0], [2.0]])
    assert evaluate(users, items, train, held_out, (1,)) == {"recall@1": 1.0, "ndcg@1": 1.0}


def test_explicit_zeros_and_repeated_entries_are_no_interactions_of_their_own():
    rows, columns = np.array([0, 0, 0]), np.array([1, 1, 2])
    held_out = sp.coo_array((np.array([1.0, 1.0, 0.0]), (rows, columns)), shape=(1, 3))
    train = sp.coo_array((np.array([0.0]), (np.array([0]), np.array([1]))), shape=(1, 3))
    items = torch.tensor([[1.0], [2.0], [0.0]])
    assert evaluate(torch.ones(1, 1), items, train, held_out, (1,))["recall@1"] == 1.0


def test_wrong_arguments_are_refused_by_name():
    train, empty = sp.csr_array(np.eye(3)), sp.csr_array(np.zeros((3, 3)))
    with pytest.raises(ValueError, match="held_out must have at least one interaction"):
        Evaluator(train, empty)
    with pytest.raises(ValueError, match=r"shape of train \(3, 3\) \(got \(2, 3\)\)"):
        Evaluator(train, train[:2])
    with pytest.raises(ValueError, match=r"cutoffs must be at least 1 \(got \(0, 5\)\)"):
        Evaluator(train, train, (0, 5))
