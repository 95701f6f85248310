"""Noise levels of the schedule `beta` as diffusers defines them, without SciPy."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

_SHAPE = 0.6
"""Both parameters of the beta distribution, as in "Beta Sampling is All You Need" (arXiv:2407.12173)."""
_NODES = 4097


def beta_sigmas(in_sigmas: ArrayLike, num_inference_steps: int) -> NDArray[np.float64]:
    """Compute noise levels from the first of `in_sigmas` down to the last, close together at both ends."""
    sigma_max, sigma_min = np.asarray(in_sigmas, dtype=np.float64)[[0, -1]]
    return sigma_min + beta_quantiles(1 - np.linspace(0, 1, num_inference_steps)) * (sigma_max - sigma_min)


def beta_quantiles(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute the inverse of the cumulative distribution function of Beta(0.6, 0.6), to about seven digits.

    With x = u ** (1 / 0.6) the density is smooth where x is small, so the trapezoidal rule is accurate; the
    distribution is symmetrical, so the half below 1/2 is enough.
    """
    u = np.linspace(0, 0.5**_SHAPE, _NODES)
    density = (1 - u ** (1 / _SHAPE)) ** (_SHAPE - 1)
    mass = np.concatenate([[0.0], np.cumsum(density[1:] + density[:-1])])
    mass *= 0.5 / mass[-1]
    near = np.interp(np.minimum(probabilities, 1 - probabilities), mass, u) ** (1 / _SHAPE)
    return np.where(probabilities <= 0.5, near, 1 - near)
