"""Trains the denoiser: text encoders and UNet together, on latents that are encoded once and kept in memory."""

import copy
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers import CLIPTokenizer

from .drawing import draw
from .networks import Denoiser, token_ids
from .noise import TIMESTEPS, Prediction, schedule
from .progress import Progress, cosine
from .scenes import training_scene
from .tokenizer import load_tokenizers
from .vae import encoded, load_vae
from .weights import follow
from .workers import average_gradients, run_workers

SIZES = {(128, 128): 1.0, (128, 96): 0.05, (96, 128): 0.05, (160, 128): 0.04, (128, 160): 0.04}
"""Pictures that each worker draws, relative to the square ones, by width and height in pixels."""
_BATCH = 32
_LEARNING_RATE = 2e-3
_WARM_UP = 50
"""Steps at the beginning in which the learning rate rises."""
_EMPTY, _ZEROED = 0.05, 0.07
"""Shares of captions replaced by the empty one, and of embeddings replaced by zeros: both mean "no prompt"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One training run."""

    prediction: Prediction
    zero_snr: bool
    steps: int
    configs: Path
    vae: Path
    start: Path | None
    """Weights to start from; None trains from scratch."""
    out: Path
    learning_rate: float = _LEARNING_RATE
    final: bool = True
    """Whether the learning rate falls to nearly zero by the end."""
    latent_mean: float = 0.0
    """Added to every latent; see `vae.shift_latents`."""
    workers: int = 1
    seed: int = 0
    pictures: int
    """Square pictures that each worker draws; other sizes in proportion."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """Latents of one size and the token ids of their captions."""

    latents: Tensor
    ids: tuple[Tensor, Tensor]


def train_denoiser(plan: Plan) -> None:
    """Take the planned steps; the moving average of the weights is saved every minute and at the end."""
    run_workers(plan.workers, _train, plan)


def load_denoiser(path: Path, configs: Path) -> Denoiser:
    """Load a saved denoiser for prediction."""
    model = Denoiser(load_tokenizers(configs))
    model.load_state_dict(torch.load(path))
    return model.eval()


def encoded_buckets(plan: Plan, rng: random.Random, tokenizers: tuple[CLIPTokenizer, CLIPTokenizer]) -> list[Bucket]:
    """Draw and encode the pictures of every size."""
    vae = load_vae(plan.vae)
    buckets: list[Bucket] = []
    for (width, height), share in SIZES.items():
        count = int(plan.pictures * share)
        scenes = [training_scene(rng) for _ in range(count)]
        latents: list[Tensor] = []
        for begin in range(0, count, 50):
            arrays = [np.asarray(draw(scene, width, height)) for scene in scenes[begin : begin + 50]]
            images = torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2)
            with torch.no_grad():
                latents.append(encoded(vae, images) + plan.latent_mean)
        buckets.append(Bucket(torch.cat(latents), token_ids(tokenizers, [scene.caption for scene in scenes])))
    return buckets


def _train(rank: int, plan: Plan) -> None:
    torch.manual_seed(0)
    tokenizers = load_tokenizers(plan.configs)
    model = load_denoiser(plan.start, plan.configs).train() if plan.start else Denoiser(tokenizers)
    average = copy.deepcopy(model)
    seed = plan.seed * 100 + rank
    torch.manual_seed(1 + seed)
    batches = _batches(encoded_buckets(plan, random.Random(seed), tokenizers), random.Random(seed + 10))
    optimizer = torch.optim.AdamW(model.parameters(), lr=plan.learning_rate, betas=(0.9, 0.99), weight_decay=0.01)
    progress, saved, mean = Progress(plan.steps), time.monotonic(), 0.0
    for step in range(1, plan.steps + 1):
        loss = denoising_loss(model, plan.prediction, *next(batches), zero_snr=plan.zero_snr)
        optimizer.zero_grad()
        loss.backward()
        average_gradients(model.parameters())
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        falling = cosine(step / plan.steps) if plan.final else 1
        optimizer.param_groups[0]["lr"] = plan.learning_rate * min(1, step / _WARM_UP) * falling
        optimizer.step()
        follow(average, model, min(0.998, (step - 1) / (step + 19)))
        mean = loss.item() if step == 1 else 0.98 * mean + 0.02 * loss.item()
        if rank == 0 and step % 100 == 0:
            print(f"{plan.prediction} {progress.told(step)} loss {mean:.4f}", flush=True)
        if rank == 0 and (time.monotonic() - saved > 60 or step == plan.steps):
            saved = time.monotonic()
            torch.save(average.state_dict(), plan.out)


def denoising_loss(
    model: Denoiser, prediction: Prediction, clean: Tensor, ids: tuple[Tensor, Tensor], *, zero_snr: bool = False
) -> Tensor:
    """Compute the loss of clean latents, batch x 4 x height x width, and the token ids of their captions."""
    noise = schedule(zero_snr=zero_snr)
    epsilon = torch.randn_like(clean)
    timesteps = _timesteps(len(clean))
    sequence, pooled = model.encode(ids)
    kept = (torch.rand(len(clean)) >= _ZEROED).float()
    predicted = model(
        noise.noisy(clean, epsilon, timesteps), timesteps, sequence * kept.view(-1, 1, 1), pooled * kept.view(-1, 1)
    )
    if prediction == "v_prediction":
        return (predicted - noise.velocity(clean, epsilon, timesteps)).square().mean()
    error = (predicted - epsilon).square().mean(dim=(1, 2, 3))
    snr = (noise.signal[timesteps] / noise.noise[timesteps]).square()
    return (error * (1 / snr).clamp(0.2, 20)).mean()


def _timesteps(count: int) -> Tensor:
    """Draw timesteps: two in five uniformly, the others from the middle and the noisy end, which decide outlines and colours."""
    anywhere = torch.randint(0, TIMESTEPS, (count,))
    deciding = torch.randint(350, 960, (count,))
    return torch.where(torch.rand(count) < 0.6, deciding, anywhere)


def _batches(buckets: list[Bucket], rng: random.Random) -> Iterator[tuple[Tensor, tuple[Tensor, Tensor]]]:
    weights = [len(bucket.latents) for bucket in buckets]
    while True:
        bucket = rng.choices(buckets, weights)[0]
        rows = torch.randint(0, len(bucket.latents), (_BATCH,))
        one, two = bucket.ids[0][rows], bucket.ids[1][rows]
        empty = torch.rand(_BATCH) < _EMPTY
        one[empty, 1:] = one[0, -1]
        two[empty, 1], two[empty, 2:] = one[0, -1], 0
        yield bucket.latents[rows], (one, two)
