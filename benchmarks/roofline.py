"""What a device could do at best: the work of something, at the rate of a plain matrix product."""

import time
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.resident import synchronize

_SIDES = {"cpu": 2048, "cuda": 8192}
_REPEATS = 8


def flops_of(work: Callable[[], object]) -> int:
    """Floating-point operations of the matrix products, convolutions and attention in some work; runs it once."""
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def flops_a_second(device: torch.device, dtype: torch.dtype) -> float:
    """The rate of a large matrix product, the fastest of eight."""
    side = _SIDES.get(device.type, 2048)
    one, other = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    seconds: list[float] = []
    for _ in range(_REPEATS):
        synchronize(device)
        begun = time.perf_counter()
        one @ other
        synchronize(device)
        seconds.append(time.perf_counter() - begun)
    return 2 * side**3 / min(seconds)
