"""Trajectories of a guided v-prediction model from noise to picture, recorded once for distillation."""

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .networks import Denoiser, token_ids
from .noise import schedule
from .scenes import training_scene
from .score import load_pipeline
from .tokenizer import load_tokenizers

TIMESTEPS = tuple(range(999, 0, -80))
"""Timesteps of a trajectory, noisiest first; LCM's sampler uses 999 and 759, among others."""
GUIDANCE = 3.0
_BATCH = 64
_EMPTY = 0.03


@dataclass(frozen=True, slots=True)
class Trajectories:
    """Deterministic trajectories (DDIM, eta 0) of training captions."""

    latents: Tensor
    """Latents at each timestep; pictures x timesteps x 4 x 16 x 16, half precision."""
    ends: Tensor
    """Clean latents at the end of each; pictures x 4 x 16 x 16, half precision."""
    ids: tuple[Tensor, Tensor]
    """Token ids of the captions; pictures x 77."""


def load_teacher(checkpoint: Path, configs: Path) -> Denoiser:
    """Load the denoiser of a checkpoint, in float32."""
    pipeline: Any = load_pipeline(checkpoint, configs)
    model = Denoiser(load_tokenizers(configs))
    for part in ("unet", "text_encoder", "text_encoder_2"):
        getattr(model, part).load_state_dict(getattr(pipeline, part).state_dict())
    return model.eval()


@torch.no_grad()
def follow_trajectories(teacher: Denoiser, configs: Path, count: int, seed: int = 0) -> Trajectories:
    """Make `count` pictures with a v-prediction teacher with zero terminal SNR, and keep every step."""
    rng, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    captions = ["" if rng.random() < _EMPTY else training_scene(rng).caption for _ in range(count)]
    ids = token_ids(load_tokenizers(configs), captions)
    latents: list[Tensor] = []
    ends: list[Tensor] = []
    for begin in range(0, count, _BATCH):
        rows = slice(begin, min(begin + _BATCH, count))
        noise = torch.randn(rows.stop - begin, 4, 16, 16, generator=generator)
        path, end = _follow(teacher, noise, (ids[0][rows], ids[1][rows]))
        latents.append(path.half())
        ends.append(end.half())
        if begin // _BATCH % 10 == 0:
            print(f"trajectories {begin / count:.0%}", flush=True)
    return Trajectories(torch.cat(latents), torch.cat(ends), ids)


def _follow(teacher: Denoiser, noisy: Tensor, ids: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    noise = schedule(zero_snr=True)
    sequence, pooled = (torch.cat([torch.zeros_like(part), part]) for part in teacher.encode(ids))
    path: list[Tensor] = []
    clean = noisy
    for timestep, following in zip(TIMESTEPS, (*TIMESTEPS[1:], None), strict=True):
        path.append(noisy)
        at = torch.full((len(noisy),), timestep)
        without, guided = teacher(torch.cat([noisy, noisy]), torch.cat([at, at]), sequence, pooled).chunk(2)
        velocity = without + GUIDANCE * (guided - without)
        clean, epsilon = noise.clean(noisy, velocity, at), noise.epsilon(noisy, velocity, at)
        if following is not None:
            noisy = noise.noisy(clean, epsilon, torch.full_like(at, following))
    return torch.stack(path, dim=1), clean
