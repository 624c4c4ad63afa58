"""Counter-based random numbers: the functions of ``csrc/common/random.h`` in Python and PyTorch.

Every random value of the library is a hash of a seed and of the place that it belongs to: a
directed edge, an interaction, an element of a row. Nothing is stored, and neither threads nor
devices matter.
"""

from __future__ import annotations

from typing import overload

import torch
from torch import Tensor

_MASK32 = 0xFFFFFFFF
_MASK64 = 0xFFFFFFFFFFFFFFFF

Seed = int | Tensor


@overload
def derive_seed(seed: int, *counters: int) -> int: ...
@overload
def derive_seed(seed: Tensor, *counters: int) -> Tensor: ...
def derive_seed(seed: Seed, *counters: int) -> Seed:
    """A seed for one purpose out of many, e.g. ``derive_seed(seed, epoch, step)``.

    Args:
        seed: any non-negative integer below 2**63, or an int64 tensor of one element that holds
            one and is not looked at: the new seed is another tensor on its device.
        *counters: what the new seed is for; every combination gives an unrelated seed.

    Returns:
        An integer in [0, 2**63), or a tensor of one.
    """
    check_seed("derive_seed", seed)
    if isinstance(seed, Tensor):
        for counter in counters:
            seed = _mixed(_mixed(seed) + _signed(counter))
        return seed & (_MASK64 >> 1)
    for counter in counters:
        seed = child_seed(seed, counter)
    return seed & (_MASK64 >> 1)


def mix64(x: int) -> int:
    """The output function of SplitMix64 (Steele et al., OOPSLA 2014) after one step."""
    x = (x + 0x9E3779B97F4A7C15) & _MASK64
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK64
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK64
    return x ^ (x >> 31)


def child_seed(seed: int, counter: int) -> int:
    """Child number ``counter`` of ``seed``, a 64-bit integer."""
    return mix64((mix64(seed & _MASK64) + counter) & _MASK64)


def child_seeds(seed: int, counters: Tensor) -> Tensor:
    """`child_seed` for many counters: 64-bit words in int64, their upper half negative."""
    return _mixed(counters + _signed(mix64(seed & _MASK64)))


def bounded(words: Tensor, bound: int) -> Tensor:
    """Uniform in [0, bound), bound < 2**31: the high word of a 64 x 64 bit product."""
    return (_shifted(words, 32) * bound + ((words & _MASK32) * bound >> 32)) >> 32


def _mixed(words: Tensor) -> Tensor:
    """`mix64` of words."""
    x = words + _signed(0x9E3779B97F4A7C15)
    x = (x ^ _shifted(x, 30)) * _signed(0xBF58476D1CE4E5B9)
    x = (x ^ _shifted(x, 27)) * _signed(0x94D049BB133111EB)
    return x ^ _shifted(x, 31)


def _shifted(words: Tensor, by: int) -> Tensor:
    """Shifted right as words without a sign."""
    return (words >> by) & (_MASK64 >> by)


def _signed(word: int) -> int:
    word &= _MASK64
    return word - 2**64 if word >> 63 else word


def mix32(x: Tensor) -> Tensor:
    """A bijection of 32-bit words held in an int64 tensor ("lowbias32", C. Wellons, 2018)."""
    x = x ^ (x >> 16)
    x = (x * 0x7FEB352D) & _MASK32
    x = x ^ (x >> 15)
    x = (x * 0x846CA68B) & _MASK32
    return x ^ (x >> 16)


def hash_pairs(seed: Seed, first: Tensor, second: Tensor) -> Tensor:
    """32-bit hashes (int64) of pairs of numbers below 2**32, broadcast against each other."""
    if isinstance(seed, Tensor):
        key = _mixed(seed)
    else:
        key = torch.tensor(_signed(mix64(seed)), device=first.device)
    hashed_first = mix32(first.long() ^ (key & _MASK32))
    return mix32(mix32(second.long() ^ _shifted(key, 32)) ^ hashed_first)


def rate_threshold(rate: float) -> int:
    """Hashes below this make an event of probability ``rate`` < 1."""
    return min(int(rate * 2**32), _MASK32)


def check_seed(op: str, seed: Seed) -> None:
    """Refuses seeds that are not integers in [0, 2**63)."""
    if isinstance(seed, Tensor):
        if seed.dtype != torch.int64 or seed.numel() != 1:
            raise ValueError(
                f"{op}: seed must be an integer or an int64 tensor of one element "
                f"(got {seed.dtype}, shape {tuple(seed.shape)})"
            )
    elif isinstance(seed, bool) or not isinstance(seed, int):
        raise TypeError(f"{op}: seed must be an integer (got {type(seed).__name__})")
    elif not 0 <= seed < 2**63:
        raise ValueError(f"{op}: seed must be in [0, 2**63) (got {seed})")


def seed_tensor(op: str, seed: Seed) -> Tensor:
    """The seed as operators take it: an int64 tensor of one element, on the CPU."""
    check_seed(op, seed)
    return seed if isinstance(seed, Tensor) else torch.full((1,), seed, dtype=torch.int64)
