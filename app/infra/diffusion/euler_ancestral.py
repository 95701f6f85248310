"""The ancestral Euler sampler with any schedule of noise levels."""

from typing import Any

import numpy as np
import torch
from diffusers.schedulers.scheduling_euler_ancestral_discrete import EulerAncestralDiscreteScheduler

from .sigma_schedules import SigmaTable


class ScheduledEulerAncestralDiscreteScheduler(EulerAncestralDiscreteScheduler):
    """Takes its noise levels from a table, which diffusers' class cannot."""

    table: SigmaTable | None = None

    def set_timesteps(self, num_inference_steps: int, device: Any = None) -> None:
        """Set timesteps and noise levels; those of diffusers without a table."""
        super().set_timesteps(num_inference_steps, device)
        if self.table is not None:
            sigmas = self.table((), num_inference_steps)
            self.timesteps = torch.from_numpy(self.table.timesteps(sigmas).astype(np.float32)).to(device)
            self.sigmas = torch.from_numpy(np.append(sigmas, 0).astype(np.float32)).to(device)
