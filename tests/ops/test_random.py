from __future__ import annotations

import pytest
import torch

from rlmrec_fast.ops import derive_seed, reference
from rlmrec_fast.ops.random import (
    bounded,
    child_seed,
    child_seeds,
    hash_pairs,
    mix32,
    mix64,
    rate_threshold,
    seed_tensor,
)


def test_mix64_gives_the_published_outputs_of_splitmix64():
    # The generator's state grows by the golden ratio before each output.
    golden = 0x9E3779B97F4A7C15
    states = [1234567 + i * golden for i in range(5)]
    assert [mix64(state % 2**64) for state in states] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    assert mix64(0) == 0xE220A8397B1DCDAF


@pytest.mark.parametrize("seed", [0, 7, 2**63 - 1, 2**64 - 1])
def test_many_child_seeds_are_those_of_one_by_one(seed):
    words = child_seeds(seed, torch.arange(50)).tolist()
    single = [child_seed(seed, counter) for counter in range(50)]
    assert [word % 2**64 for word in words] == single
    for bound in (1, 10, 2**31 - 1):
        expected = [word * bound >> 64 for word in single]
        assert bounded(torch.tensor(words), bound).tolist() == expected
    extremes = torch.tensor([0, -1, 2**63 - 1, -(2**63)])
    assert bounded(extremes, 2**31 - 1).tolist() == [0, 2**31 - 2, 2**30 - 1, 2**30 - 1]


@pytest.mark.parametrize("seed", [0, 7, 2**63 - 1])
def test_seeds_in_tensors_are_those_of_integers(seed):
    held = torch.tensor([seed])
    for counters in ((), (0,), (1, 2**40), (3, 2**64 - 1, 5)):
        found = derive_seed(held, *counters)
        assert found.tolist() == [derive_seed(seed, *counters)]
        assert found.dtype == torch.int64
    numbers = torch.arange(9)
    pairs = hash_pairs(held, numbers[:, None], numbers)
    torch.testing.assert_close(pairs, hash_pairs(seed, numbers[:, None], numbers), rtol=0, atol=0)
    assert held.item() == seed


def test_mix32_is_a_bijection_whose_output_bits_all_depend_on_all_input_bits():
    words = torch.arange(0, 2**32, 4099)
    assert len(mix32(words).unique()) == len(words)
    assert mix32(words).max() < 2**32
    words = torch.randint(0, 2**32, (4000,))
    for bit in range(32):
        changed = mix32(words) ^ mix32(words ^ (1 << bit))
        for other in range(32):
            share = ((changed >> other) & 1).double().mean().item()
            assert abs(share - 0.5) < 0.06, (bit, other)


def test_hashes_of_pairs_tell_first_from_second_and_seeds_apart():
    first, second = torch.randint(0, 2**31, (2, 5000))
    hashes = hash_pairs(3, first, second)
    assert hashes.min() >= 0
    assert hashes.max() < 2**32
    assert (hashes == hash_pairs(3, second, first)).sum() < 5
    assert (hashes == hash_pairs(4, first, second)).sum() < 5
    assert (hashes == hash_pairs(3 + 2**40, first, second)).sum() < 5


def test_derived_seeds_are_distinct_seeds():
    seeds = {derive_seed(seed, i, j) for seed in range(5) for i in range(20) for j in range(20)}
    assert len(seeds) == 2000
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert derive_seed(7, 1, 2) == derive_seed(7, 1, 2)
    assert derive_seed(7, 1, 2) != derive_seed(7, 2, 1)
    assert derive_seed(7, 1) != derive_seed(7, 1, 0)
    assert derive_seed(2**63 - 1) == 2**63 - 1


def test_child_seeds_take_any_counter():
    assert child_seed(0, 0) == mix64(mix64(0))
    assert child_seed(5, 2**64 - 1) < 2**64


def test_uniform_noise_is_uniform():
    noise = reference.uniform_noise(1000, 64, seed=9)
    count = noise.numel()
    assert noise.min() >= 0
    assert noise.max() < 1
    assert abs(noise.mean() - 0.5) < 5 * (1 / 12 / count) ** 0.5
    counts = torch.histc(noise, 64, 0, 1)
    chi_square = ((counts - count / 64).square() / (count / 64)).sum()
    assert abs(chi_square - 63) < 5 * (2 * 63) ** 0.5


def test_thresholds_stay_below_2_to_the_32():
    assert rate_threshold(0.5) == 2**31
    assert rate_threshold(1 - 1e-15) == 2**32 - 1
    assert rate_threshold(1e-12) == 0


@pytest.mark.parametrize(
    ("seed", "error", "message"),
    [
        (-1, ValueError, r"seed must be in \[0, 2\*\*63\) \(got -1\)"),
        (2**63, ValueError, r"seed must be in \[0, 2\*\*63\) \(got 9223372036854775808\)"),
        (True, TypeError, r"seed must be an integer \(got bool\)"),
        (1.0, TypeError, r"seed must be an integer \(got float\)"),
        ("1", TypeError, r"seed must be an integer \(got str\)"),
        (None, TypeError, r"seed must be an integer \(got NoneType\)"),
        (torch.tensor([1, 2]), ValueError, r"seed must be .* one element \(got torch.int64"),
        (torch.tensor(1.0), ValueError, r"seed must be .* int64 .* \(got torch.float32"),
    ],
)
def test_wrong_seeds_are_refused_by_name(seed, error, message):
    with pytest.raises(error, match=f"^op: {message}"):
        seed_tensor("op", seed)


def test_derive_seed_refuses_wrong_seeds_by_name():
    with pytest.raises(ValueError, match=r"^derive_seed: seed must be in"):
        derive_seed(-1)
    with pytest.raises(TypeError, match=r"^derive_seed: seed must be an integer"):
        derive_seed("x", 1)
