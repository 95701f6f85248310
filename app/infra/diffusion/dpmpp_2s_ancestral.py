"""DPM-Solver++(2S) with noise added in every step, k-diffusion's `sample_dpmpp_2s_ancestral`."""

from typing import Any

from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from .kdpm2 import QuickKDPM2AncestralDiscreteScheduler


class DPMSolverPP2SAncestralScheduler(QuickKDPM2AncestralDiscreteScheduler):
    """Takes DPM2's steps, with the other solver in their second halves.

    Both evaluate the network a second time at the geometric mean of the noise levels of a step, and go there on the same way.
    From x at sigma, DPM2 then follows the derivative that it finds there; DPM-Solver++ (Lu et al. 2022, arXiv:2211.01095,
    algorithm 1 with r = 1/2) goes towards the clean latents that it finds there.
    """

    def step(
        self, model_output: Any, timestep: Any, sample: Any, generator: Any = None, return_dict: bool = True
    ) -> Any:
        """Take half a step. Arguments and result are those of diffusers' schedulers."""
        if self.state_in_first_order:
            return super().step(model_output, timestep, sample, generator, return_dict)
        x: Any = self.sample
        self.sample = None
        half = self._step_index - 1  # pyright: ignore[reportOptionalOperand]
        denoised = self._denoised(model_output, sample, self.sigmas_interpol[half])
        left = self.sigmas_down[half] / self.sigmas[half]
        self._step_index = half + 2
        noise = randn_tensor(sample.shape, generator, sample.device, sample.dtype)
        return (x * left + denoised * (1 - left) + noise * self.sigmas_up[half], denoised)

    def _denoised(self, model_output: Tensor, x: Tensor, sigma: Tensor) -> Tensor:
        if self.config["prediction_type"] == "v_prediction":
            return x / (sigma**2 + 1) - model_output * sigma / (sigma**2 + 1) ** 0.5
        return x - sigma * model_output
