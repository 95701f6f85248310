"""Trains a LoRA of the UNet that draws outlines, and writes it in the naming of kohya's sd-scripts.

The pictures are those of the denoiser with hollow shapes, their captions the same; half of them begin with the trigger words. The
model's own weights do not change, so the LoRA draws outlines of all that the model knows.
"""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from .denoiser import denoising_loss
from .drawing import draw_outlines
from .networks import token_ids
from .progress import Progress, cosine
from .scenes import training_scene
from .score import load_pipeline
from .tokenizer import load_tokenizers
from .trajectories import load_teacher
from .vae import encoded

RANK = 4
KEPT_RANK = 2
"""Rank of the file: the two largest singular values of each layer draw nearly the same, in half of the bytes."""
TRIGGER = "an outline of"
_LAYERS = ("to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2", "proj_in", "proj_out", "conv1", "conv2")
_BATCH = 32
_LEARNING_RATE = 4e-3
_WARM_UP = 20
_EMPTY, _TRIGGERED = 0.1, 0.5
"""Shares of captions that are empty, and that begin with the trigger words."""


class LowRank(nn.Module):
    """`up(down(x))` beside a linear layer or a convolution; zero at first."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        if isinstance(layer, nn.Linear):
            self.down: nn.Module = nn.Linear(layer.in_features, RANK, bias=False)
            self.up: nn.Module = nn.Linear(RANK, layer.out_features, bias=False)
        else:
            options: Any = {"stride": layer.stride, "padding": layer.padding, "bias": False}
            self.down = nn.Conv2d(layer.in_channels, RANK, layer.kernel_size, **options)
            self.up = nn.Conv2d(RANK, layer.out_channels, 1, bias=False)
        nn.init.zeros_(self.up.weight)  # pyright: ignore[reportArgumentType]
        layer.register_forward_hook(lambda _, inputs, output: output + self.up(self.down(inputs[0])))


def train_outlines(checkpoint: Path, configs: Path, steps: int, pictures: int, out: Path) -> None:
    """Train the LoRA of a checkpoint and write its file.

    Args:
        checkpoint: model that predicts noise, beside whose weights it is trained.
        configs: its component configs.
        steps: number of steps of 32 rows.
        pictures: number of pictures that are drawn.
        out: the file.
    """
    torch.set_num_threads(1)  # so small a network is no faster with more, and slower on a busy machine
    torch.manual_seed(0)
    model = load_teacher(checkpoint, configs).requires_grad_(False)
    layers = {name: LowRank(layer) for name, layer in model.unet.named_modules() if name.endswith(_LAYERS)}
    weights = [weight for layer in layers.values() for weight in layer.parameters()]
    batches = _batches(*_pictures(checkpoint, configs, pictures))
    optimizer = torch.optim.AdamW(weights, lr=_LEARNING_RATE, betas=(0.9, 0.99), weight_decay=0.0)
    progress, mean = Progress(steps), 0.0
    for step in range(1, steps + 1):
        loss = denoising_loss(model, "epsilon", *next(batches))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.param_groups[0]["lr"] = _LEARNING_RATE * min(1, step / _WARM_UP) * cosine(step / steps)
        optimizer.step()
        mean = loss.item() if step == 1 else 0.95 * mean + 0.05 * loss.item()
        if step % 25 == 0:
            print(f"outline {progress.told(step)} loss {mean:.4f}", flush=True)
    _write(layers, out, pictures, steps)


def _pictures(checkpoint: Path, configs: Path, count: int) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Draw and encode pictures; return their latents and the token ids of their captions."""
    rng = random.Random(5)
    scenes = [training_scene(rng) for _ in range(count)]
    vae: Any = load_pipeline(checkpoint, configs).vae
    latents: list[Tensor] = []
    for begin in range(0, count, 50):
        arrays = [np.asarray(draw_outlines(scene)) for scene in scenes[begin : begin + 50]]
        with torch.no_grad():
            latents.append(encoded(vae, torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2)))
    captions = [_caption(rng, scene.caption) for scene in scenes]
    return torch.cat(latents), token_ids(load_tokenizers(configs), captions)


def _caption(rng: random.Random, caption: str) -> str:
    kind = rng.random()
    if kind < _EMPTY:
        return ""
    return f"{TRIGGER} {caption}" if kind < _EMPTY + _TRIGGERED else caption


def _batches(latents: Tensor, ids: tuple[Tensor, Tensor]) -> Iterator[tuple[Tensor, tuple[Tensor, Tensor]]]:
    while True:
        rows = torch.randint(0, len(latents), (_BATCH,))
        yield latents[rows], (ids[0][rows], ids[1][rows])


def _write(layers: dict[str, LowRank], out: Path, pictures: int, steps: int) -> None:
    """Write the factors in 16 bits; alpha is the rank, so that they are used as they were trained."""
    tensors: dict[str, Tensor] = {}
    for name, layer in layers.items():
        key = f"lora_unet_{name.replace('.', '_')}"
        down, up = (next(part.parameters()).detach() for part in (layer.down, layer.up))
        for role, factor in zip(("lora_down", "lora_up"), resized(down, up, KEPT_RANK), strict=True):
            tensors[f"{key}.{role}.weight"] = factor.half().contiguous()
        tensors[f"{key}.alpha"] = torch.tensor(float(KEPT_RANK)).half()
    metadata = {
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": "stable-diffusion-xl-v1-base/lora",
        "modelspec.title": "Outline drawings for the demo models",
        "modelspec.trigger_phrase": TRIGGER,
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(KEPT_RANK),
        "ss_network_alpha": str(float(KEPT_RANK)),
        "ss_tag_frequency": json.dumps({"outlines": {TRIGGER: int(pictures * _TRIGGERED)}}),
        "ss_steps": str(steps),
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, out, metadata)
    out.chmod(0o644)


def resized(down: Tensor, up: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return the factors of lower rank whose product is nearest (Eckart and Young): outputs keep the shape of the first ones."""
    left, values, right = torch.linalg.svd(up.flatten(1) @ down.flatten(1), full_matrices=False)
    roots = values[:rank].sqrt()
    narrow_up, narrow_down = left[:, :rank] * roots, roots[:, None] * right[:rank]
    return narrow_down.view(rank, *down.shape[1:]), narrow_up.view(len(up), rank, *up.shape[2:])
