"""SDXL's noise schedule, plain and rescaled to zero terminal SNR."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

TIMESTEPS = 1000
Prediction = Literal["epsilon", "v_prediction"]


@dataclass(frozen=True, slots=True)
class Schedule:
    """x_t = signal[t] * x_0 + noise[t] * epsilon; both of length 1000."""

    signal: Tensor
    noise: Tensor

    def noisy(self, clean: Tensor, epsilon: Tensor, timesteps: Tensor) -> Tensor:
        """Add noise to latents, as at the given timesteps."""
        return self._at(self.signal, timesteps) * clean + self._at(self.noise, timesteps) * epsilon

    def velocity(self, clean: Tensor, epsilon: Tensor, timesteps: Tensor) -> Tensor:
        """Return the v of Salimans & Ho 2022 (arXiv:2202.00512), appendix D."""
        return self._at(self.signal, timesteps) * epsilon - self._at(self.noise, timesteps) * clean

    def clean(self, noisy: Tensor, velocity: Tensor, timesteps: Tensor) -> Tensor:
        """Return x_0 from a predicted v."""
        return self._at(self.signal, timesteps) * noisy - self._at(self.noise, timesteps) * velocity

    def epsilon(self, noisy: Tensor, velocity: Tensor, timesteps: Tensor) -> Tensor:
        """Return the noise from a predicted v."""
        return self._at(self.noise, timesteps) * noisy + self._at(self.signal, timesteps) * velocity

    @staticmethod
    def _at(values: Tensor, timesteps: Tensor) -> Tensor:
        return values[timesteps].view(-1, 1, 1, 1)


def schedule(*, zero_snr: bool) -> Schedule:
    """Make SDXL's scaled-linear betas; with `zero_snr` rescaled as in Lin et al. 2023 (arXiv:2305.08891), algorithm 1."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, TIMESTEPS, dtype=torch.float64) ** 2
    signal = (1 - betas).cumprod(0).sqrt()
    if zero_snr:
        first, last = signal[0].clone(), signal[-1].clone()
        signal = (signal - last) * first / (first - last)
    return Schedule(signal.float(), (1 - signal**2).sqrt().float())
