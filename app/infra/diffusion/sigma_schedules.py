"""Noise levels of the schedules that k-diffusion, AUTOMATIC1111's web UI and ComfyUI have under these names.

Each table is computed from the noise levels of training alone, so that it begins at the largest of them with every
sampler. A sampler adds the final 0 itself.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...domain.requests.samplers import SigmaSchedule
from .beta_sigmas import beta_sigmas

Sigmas = NDArray[np.float64]

_RHO = 7.0
"""Exponent of the Karras schedule (Karras et al. 2022, arXiv:2206.00364, eq. 5)."""
_ALIGN_YOUR_STEPS = (14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029)
"""Noise levels for ten steps of a latent model of 1024 pixels (Sabour et al. 2024, arXiv:2404.14507)."""


@dataclass(frozen=True, slots=True)
class SigmaTable:
    """One schedule for one model. Takes the place of a diffusers scheduler's `_convert_to_karras`."""

    schedule: SigmaSchedule
    trained: Sigmas
    """Noise levels of the trained timesteps, ascending."""
    discard_penultimate: bool = False
    """Whether to make levels for one step more, and leave out the last but the final 0."""

    def __call__(self, in_sigmas: ArrayLike, num_inference_steps: int | None = None) -> Sigmas:
        """Compute the noise levels, descending, without the final 0.

        Args:
            in_sigmas: the scheduler's own levels; only their number counts, and only without `num_inference_steps`.
            num_inference_steps: number of steps. `ddim_uniform` may take one or two more, as in ComfyUI.
        """
        steps = num_inference_steps or len(np.asarray(in_sigmas))
        if self.discard_penultimate:
            return _TABLES[self.schedule](self.trained, steps + 1)[:-1]
        return _TABLES[self.schedule](self.trained, steps)

    def timesteps(self, sigmas: Sigmas) -> Sigmas:
        """Interpolate the timesteps of noise levels linearly between the logarithms of the trained ones."""
        return np.interp(np.log(sigmas), np.log(self.trained), np.arange(len(self.trained)))


def _at(trained: Sigmas, timesteps: Sigmas) -> Sigmas:
    return np.exp(np.interp(timesteps, np.arange(len(trained)), np.log(trained)))


def _normal(trained: Sigmas, steps: int) -> Sigmas:
    return _at(trained, np.linspace(len(trained) - 1, 0, steps))


def _karras(trained: Sigmas, steps: int) -> Sigmas:
    first, last = trained[-1] ** (1 / _RHO), trained[0] ** (1 / _RHO)
    return (first + np.linspace(0, 1, steps) * (last - first)) ** _RHO


def _exponential(trained: Sigmas, steps: int) -> Sigmas:
    return np.exp(np.linspace(np.log(trained[-1]), np.log(trained[0]), steps))


def _beta(trained: Sigmas, steps: int) -> Sigmas:
    return beta_sigmas(trained[::-1], steps)


def _sgm_uniform(trained: Sigmas, steps: int) -> Sigmas:
    return _at(trained, np.linspace(len(trained) - 1, 0, steps + 1)[:-1])


def _simple(trained: Sigmas, steps: int) -> Sigmas:
    stride = len(trained) / steps
    return np.array([trained[-(1 + int(step * stride))] for step in range(steps)])


def _ddim_uniform(trained: Sigmas, steps: int) -> Sigmas:
    return trained[1 :: max(len(trained) // steps, 1)][::-1].copy()


def _align_your_steps(trained: Sigmas, steps: int) -> Sigmas:  # noqa: ARG001 - the table is fixed
    return _aligned_levels(steps + 1)[:-1]


def _align_your_steps_a1111(trained: Sigmas, steps: int) -> Sigmas:  # noqa: ARG001 - the table is fixed
    """Spread the steps over the whole table; as published, the final 0 takes the place of its last level."""
    return _aligned_levels(steps)


def _aligned_levels(count: int) -> Sigmas:
    positions = np.linspace(0, 1, len(_ALIGN_YOUR_STEPS))
    return np.exp(np.interp(np.linspace(0, 1, count), positions, np.log(_ALIGN_YOUR_STEPS)))


_TABLES: Mapping[SigmaSchedule, Callable[[Sigmas, int], Sigmas]] = {
    "normal": _normal,
    "karras": _karras,
    "exponential": _exponential,
    "beta": _beta,
    "sgm_uniform": _sgm_uniform,
    "simple": _simple,
    "ddim_uniform": _ddim_uniform,
    "align_your_steps": _align_your_steps,
    "align_your_steps_a1111": _align_your_steps_a1111,
}
