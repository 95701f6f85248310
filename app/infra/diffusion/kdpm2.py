"""The DPM2 samplers without the half second that diffusers' constructors spend on a thousand interpolations."""

from typing import Any

import numpy as np
from diffusers.schedulers.scheduling_k_dpm_2_ancestral_discrete import KDPM2AncestralDiscreteScheduler
from diffusers.schedulers.scheduling_k_dpm_2_discrete import KDPM2DiscreteScheduler
from numpy.typing import NDArray


class _QuickInterpolation:
    def _sigma_to_t(self, sigma: Any, log_sigmas: Any) -> NDArray[Any]:
        """Interpolate the timestep of a noise level linearly between the logarithms of the trained ones, as diffusers does."""
        log_sigma = np.log(max(float(sigma), 1e-10))
        return np.asarray(np.interp(log_sigma, np.asarray(log_sigmas), np.arange(len(log_sigmas))))


class QuickKDPM2DiscreteScheduler(_QuickInterpolation, KDPM2DiscreteScheduler):
    """DPM2."""


class QuickKDPM2AncestralDiscreteScheduler(_QuickInterpolation, KDPM2AncestralDiscreteScheduler):
    """DPM2 with noise added in every step."""
