"""The linear multistep sampler without SciPy."""

import numpy as np
from diffusers.schedulers.scheduling_lms_discrete import LMSDiscreteScheduler

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(2)
"""Two nodes integrate polynomials up to the third degree exactly, which is the highest that occurs."""


class ExactLMSDiscreteScheduler(LMSDiscreteScheduler):
    """diffusers integrates the Lagrange polynomials with SciPy, adaptively and approximately; this does it exactly."""

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
