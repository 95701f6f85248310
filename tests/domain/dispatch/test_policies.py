"""On the benchmark's traces the pool's policy never moves more than plain LRU, and what it sees of the queue helps it."""

import random
from collections.abc import Callable

import pytest

from benchmarks.policies import Request, bursty, lru, ours, run, zipf

BUDGET = 24 * 10**9


@pytest.mark.parametrize("make", [zipf, bursty])
@pytest.mark.parametrize("seed", range(8))
def test_ours_moves_no_more_than_lru_and_less_the_more_it_sees(
    make: Callable[[random.Random, int, int], list[Request]], seed: int
) -> None:
    trace = make(random.Random(seed), 250, 10)
    plain = run(trace, BUDGET, lru, ahead=0, shared=False).moved_nbytes
    blind, seeing, knowing = (run(trace, BUDGET, ours, ahead=n, shared=False).moved_nbytes for n in (0, 8, 10**9))
    assert blind <= plain
    assert seeing < blind
    assert knowing <= seeing * 1.02
