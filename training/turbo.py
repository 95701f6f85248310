"""Distils a guided v-prediction model into one that makes pictures in 1 to 4 steps without guidance.

The student learns the consistency function of Song et al. 2023 (arXiv:2303.01469): from any point of one of the teacher's
trajectories to that trajectory's end. Trajectories of so small a model are cheap, so the end itself is the target, where
consistency distillation has the student's own estimate one step further on. Guidance is distilled along with it, as in latent
consistency models (Luo et al. 2023, arXiv:2310.04378).
"""

import copy
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .networks import Denoiser
from .noise import schedule
from .progress import Progress, cosine
from .trajectories import TIMESTEPS, Trajectories
from .weights import follow

_BATCH = 32
_LEARNING_RATE = 8e-4
_FROM_NOISE = 0.4
"""Share of the rows that start at pure noise, because the first step is the hardest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Distillation:
    """Numbers of steps and pictures of a distillation."""

    pictures: int
    steps: int


def distil(teacher: Denoiser, trajectories: Trajectories, steps: int, part: Path) -> None:
    """Train a student that starts as the teacher; its moving average is saved every 200 steps and at the end.

    Args:
        teacher: model to distil; the student keeps its text encoders unchanged.
        trajectories: recorded steps of the teacher.
        steps: number of steps of 32 rows; a step takes about 0.8 s of one core.
        part: file for the state of the student.
    """
    torch.manual_seed(1)
    student = copy.deepcopy(teacher).train()
    average = copy.deepcopy(student)
    weights = list(student.unet.parameters())
    optimizer = torch.optim.AdamW(weights, lr=_LEARNING_RATE, betas=(0.9, 0.99), weight_decay=0.0)
    progress, mean = Progress(steps), 0.0
    for step in range(1, steps + 1):
        loss = _loss(student, trajectories)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.param_groups[0]["lr"] = _LEARNING_RATE * min(1, step / 50) * cosine(step / steps)
        optimizer.step()
        follow(average, student, min(0.998, step / (step + 20)))
        mean = loss.item() if step == 1 else 0.98 * mean + 0.02 * loss.item()
        if step % 100 == 0:
            print(f"turbo {progress.told(step)} loss {mean:.4f}", flush=True)
        if step % 200 == 0 or step == steps:
            torch.save(average.state_dict(), part)


def _loss(student: Denoiser, trajectories: Trajectories) -> Tensor:
    rows = torch.randint(0, len(trajectories.ends), (_BATCH,))
    positions = torch.randint(0, len(TIMESTEPS), (_BATCH,))
    positions[torch.rand(_BATCH) < _FROM_NOISE] = 0
    timesteps = torch.tensor(TIMESTEPS)[positions]
    noisy = trajectories.latents[rows, positions].float()
    with torch.no_grad():
        sequence, pooled = student.encode((trajectories.ids[0][rows], trajectories.ids[1][rows]))
    velocity = student(noisy, timesteps, sequence, pooled)
    arrived = schedule(zero_snr=True).clean(noisy, velocity, timesteps)
    return F.smooth_l1_loss(arrived, trajectories.ends[rows].float(), beta=0.1)
