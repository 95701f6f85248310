"""The linear multistep sampler without SciPy, which may start at any step."""

from typing import Any

import numpy as np
from diffusers.schedulers.scheduling_lms_discrete import LMSDiscreteScheduler

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(2)
"""Two nodes integrate polynomials up to the third degree exactly, which is the highest that occurs."""


class ExactLMSDiscreteScheduler(LMSDiscreteScheduler):
    """diffusers integrates the Lagrange polynomials with SciPy, adaptively and approximately; this does it exactly.

    It has no more points than derivatives. diffusers counts the steps of the schedule, so in a run that begins later its first
    steps give the derivatives that there are the weights of a rule with more of them.
    """

    def step(self, model_output: Any, timestep: Any, sample: Any, order: int = 4, return_dict: bool = True) -> Any:
        """Take a step; see `LMSDiscreteScheduler.step`."""
        order = min(order, len(self.derivatives) + 1)  # the derivative of this step is added in it
        return super().step(model_output, timestep, sample, order=order, return_dict=return_dict)

    def get_lms_coefficient(self, order: int, t: int, current_order: int) -> float:
        """Compute the weight of the derivative of `current_order` steps ago in the step from `sigmas[t]` to `sigmas[t + 1]`.

        It is the integral over the step of the polynomial that is 1 there and 0 at the others of the last `order`.
        """
        sigmas = self.sigmas.double().numpy()
        half = (sigmas[t + 1] - sigmas[t]) / 2
        at = sigmas[t] + half * (1 + _NODES)
        here = sigmas[t - current_order]
        others = [sigmas[t - k] for k in range(order) if k != current_order]
        values = np.prod([(at - other) / (here - other) for other in others], axis=0)
        return float(half * np.sum(_WEIGHTS * values))
