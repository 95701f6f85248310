"""The loops of k-diffusion, as its users know them: x in the scale of the image, noise levels from a table.

Written from the papers (Karras et al. 2022, arXiv:2206.00364; Lu et al. 2022, arXiv:2211.01095) and the rules of k-diffusion's
`sampling.py`, and sharing nothing with the code under test.
"""

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

Denoiser = Callable[[Tensor, float], Tensor]
"""Clean latents that the network sees in x at a noise level."""
Noise = Callable[[], Tensor]
Loop = Callable[[Denoiser, Tensor, Sequence[float], Noise], Tensor]


def euler(model: Denoiser, x: Tensor, sigmas: Sequence[float], noise: Noise) -> Tensor:
    for sigma, following in itertools.pairwise(sigmas):
        x = x + (x - model(x, sigma)) / sigma * (following - sigma)
    return x


def heun(model: Denoiser, x: Tensor, sigmas: Sequence[float], noise: Noise) -> Tensor:
    for sigma, following in itertools.pairwise(sigmas):
        slope = (x - model(x, sigma)) / sigma
        ahead = x + slope * (following - sigma)
        if following > 0:
            slope = (slope + (ahead - model(ahead, following)) / following) / 2
        x = x + slope * (following - sigma)
    return x


def dpm2(model: Denoiser, x: Tensor, sigmas: Sequence[float], noise: Noise) -> Tensor:
    for sigma, following in itertools.pairwise(sigmas):
        slope = (x - model(x, sigma)) / sigma
        if following > 0:
            middle = math.sqrt(sigma * following)
            between = x + slope * (middle - sigma)
            slope = (between - model(between, middle)) / middle
        x = x + slope * (following - sigma)
    return x


def dpm2_a(model: Denoiser, x: Tensor, sigmas: Sequence[float], noise: Noise) -> Tensor:
    for sigma, following in itertools.pairwise(sigmas):
        down, up = _ancestral(sigma, following)
        slope = (x - model(x, sigma)) / sigma
        if down == 0:
            return x + slope * (down - sigma)
        middle = math.sqrt(sigma * down)
        between = x + slope * (middle - sigma)
        x = x + (between - model(between, middle)) / middle * (down - sigma)
        x = x + noise() * up
    return x


def lms(model: Denoiser, x: Tensor, sigmas: Sequence[float], noise: Noise) -> Tensor:
    slopes: list[Tensor] = []
    for index, (sigma, following) in enumerate(itertools.pairwise(sigmas)):
        slopes = [(x - model(x, sigma)) / sigma, *slopes][:4]
        levels = [sigmas[index - back] for back in range(len(slopes))]
        for back, slope in enumerate(slopes):
            x = x + slope * _integral_of_lagrange(levels, back, sigma, following)
    return x


def plms(model: Denoiser, x: Tensor, sigmas: Sequence[float], noise: Noise) -> Tensor:
    """Liu et al. 2022, arXiv:2202.09778: equation 13 in the first step, then 12 with the slopes that there are.

    Its transfer, equation 11, is a step of Euler in the scale of the image.
    """
    rules = ((3, -1), (23, -16, 5), (55, -59, 37, -9))
    slopes: list[Tensor] = []
    for sigma, following in itertools.pairwise(sigmas):
        slopes = [(x - model(x, sigma)) / sigma, *slopes][:4]
        slope = slopes[0]
        if len(slopes) > 1:
            rule = rules[len(slopes) - 2]
            slope = sum((weight * each for weight, each in zip(rule, slopes, strict=True)), 0 * x) / sum(rule)
        elif following > 0:
            ahead = x + slope * (following - sigma)
            slope = (slope + (ahead - model(ahead, following)) / following) / 2
        x = x + slope * (following - sigma)
    return x


def dpmpp_2m(model: Denoiser, x: Tensor, sigmas: Sequence[float], noise: Noise) -> Tensor:
    older, step_before = None, 0.0
    for sigma, following in itertools.pairwise(sigmas):
        denoised = model(x, sigma)
        step = math.log(sigma / following) if following > 0 else math.inf
        towards = denoised
        if older is not None and following > 0:
            ratio = step_before / step
            towards = (1 + 1 / (2 * ratio)) * denoised - 1 / (2 * ratio) * older
        x = following / sigma * x - math.expm1(-step) * towards
        older, step_before = denoised, step
    return x


def euler_a(model: Denoiser, x: Tensor, sigmas: Sequence[float], noise: Noise) -> Tensor:
    for sigma, following in itertools.pairwise(sigmas):
        down, up = _ancestral(sigma, following)
        x = x + (x - model(x, sigma)) / sigma * (down - sigma)
        x = x + noise() * up
    return x


def dpmpp_2s_a(model: Denoiser, x: Tensor, sigmas: Sequence[float], noise: Noise) -> Tensor:
    for sigma, following in itertools.pairwise(sigmas):
        down, up = _ancestral(sigma, following)
        denoised = model(x, sigma)
        if down == 0:
            return denoised
        half = math.log(sigma / down) / 2
        middle = sigma * math.exp(-half)
        between = middle / sigma * x - math.expm1(-half) * denoised
        x = down / sigma * x - math.expm1(-2 * half) * model(between, middle)
        x = x + noise() * up
    return x


def _ancestral(sigma: float, following: float) -> tuple[float, float]:
    """How far to go down, and how much noise to add, so that both together come to the next level."""
    up = min(following, math.sqrt(following**2 * (sigma**2 - following**2) / sigma**2))
    return math.sqrt(following**2 - up**2), up


def _integral_of_lagrange(levels: Sequence[float], which: int, begin: float, end: float) -> float:
    polynomial = np.polynomial.Polynomial([1.0])
    for place, level in enumerate(levels):
        if place != which:
            polynomial *= np.polynomial.Polynomial([-level, 1.0]) / (levels[which] - level)
    primitive = polynomial.integ()
    return float(primitive(end) - primitive(begin))


LOOPS: dict[str, Loop] = {
    "euler": euler, "heun": heun, "dpm2": dpm2, "dpm2_a": dpm2_a, "lms": lms, "dpmpp_2m": dpmpp_2m,
    "euler_a": euler_a, "dpmpp_2s_a": dpmpp_2s_a,
}  # fmt: skip


def noise_of(generator: torch.Generator, shape: Sequence[int]) -> Noise:
    return lambda: torch.randn(tuple(shape), generator=generator)
