"""Trains a textual inversion embedding for the demo model, `python -m training.embedding`: a colour that it has no word for.

A vector for each text encoder takes the place of the colour in "a turquoise circle on a white background"; no weight of the model
changes (Gal et al. 2022, arXiv:2208.01618). It begins between green and blue, and learns from 200 pictures. With two vectors the
words behind them move to places at which the model has not seen them, and shapes blur.
"""

import argparse
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import CLIPTokenizer

from .drawing import draw
from .networks import Denoiser, token_ids
from .noise import schedule
from .progress import Progress, cosine
from .scenes import COLOURS, Scene, training_scene
from .score import load_pipeline
from .stages import MODELS
from .tokenizer import load_tokenizers
from .trajectories import load_teacher
from .vae import encoded

NAME = "turquoise"
COLOUR = (20, 175, 165)
_BETWEEN = ("green", "blue")
_PICTURES, _STEPS, _BATCH = 200, 400, 16
_LEARNING_RATE = 0.005
_TIMESTEPS = (200, 1000)
"""Noise levels at which colours are decided."""
_LARGEST_WEIGHT = 20.0


class Inserted(nn.Module):
    """A vector in the place of a token, for one text encoder."""

    def __init__(self, encoder: Any, tokenizer: CLIPTokenizer) -> None:
        super().__init__()
        layer = encoder.get_input_embeddings()
        begin = layer.weight[[_token(tokenizer, word) for word in _BETWEEN]].mean(dim=0)
        self.vectors = nn.Parameter(begin.detach()[None])
        self.placeholder = _token(tokenizer, "a")
        self.places = torch.zeros(0, 77, dtype=torch.bool)
        layer.register_forward_hook(self._put)

    def _put(self, _: nn.Module, __: Any, embedded: Tensor) -> Tensor:
        return torch.where(self.places[..., None], self.vectors, embedded)


def main() -> None:
    """Train, and write the file."""
    parser = argparse.ArgumentParser(prog="python -m training.embedding", description=__doc__)
    parser.add_argument("--out", type=Path, default=MODELS / "embeddings" / f"{NAME}.safetensors")
    parser.add_argument("--steps", type=int, default=_STEPS)
    arguments = parser.parse_args()
    train_embedding(MODELS / "demo.safetensors", MODELS / "demo.config", arguments.steps, arguments.out)


def train_embedding(checkpoint: Path, configs: Path, steps: int, out: Path) -> None:
    """Train the vectors beside a checkpoint that predicts noise, and write them as kohya's trainers do."""
    torch.set_num_threads(1)  # so small a network is no faster with more, and slower on a busy machine
    torch.manual_seed(0)
    model = load_teacher(checkpoint, configs).requires_grad_(False)
    tokenizers = load_tokenizers(configs)
    encoders = (model.text_encoder, model.text_encoder_2)
    inserted = [Inserted(encoder, tokenizer) for encoder, tokenizer in zip(encoders, tokenizers, strict=True)]
    latents, ids = _pictures(checkpoint, configs, tokenizers)
    optimizer = torch.optim.Adam([part.vectors for part in inserted], lr=_LEARNING_RATE)
    progress = Progress(steps)
    for step in range(1, steps + 1):
        rows = torch.randint(0, len(latents), (_BATCH,))
        loss = _loss(model, inserted, latents[rows], (ids[0][rows], ids[1][rows]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.param_groups[0]["lr"] = _LEARNING_RATE * cosine(step / steps)
        optimizer.step()
        if step % 25 == 0:
            print(f"{NAME} {progress.told(step)} loss {loss.item():.4f}", flush=True)
    _write(inserted, steps, out)


def _loss(model: Denoiser, inserted: list[Inserted], clean: Tensor, ids: tuple[Tensor, Tensor]) -> Tensor:
    """Error of the predicted noise, weighed as if the velocity was predicted: that heeds colours, which noise hides first."""
    noise, epsilon = schedule(zero_snr=False), torch.randn_like(clean)
    timesteps = torch.randint(*_TIMESTEPS, (len(clean),))
    for part, row_ids in zip(inserted, ids, strict=True):
        part.places = _places(row_ids, part.placeholder)
    sequence, pooled = model.encode(ids)
    predicted = model(noise.noisy(clean, epsilon, timesteps), timesteps, sequence, pooled)
    error = (predicted - epsilon).square().mean(dim=(1, 2, 3))
    return (error * (1 / noise.signal[timesteps].square()).clamp(max=_LARGEST_WEIGHT).view(-1)).mean()


def _places(ids: Tensor, placeholder: int) -> Tensor:
    """Mark the colour: captions are "a a circle on ...", of which the second word is the placeholder."""
    places = torch.zeros_like(ids, dtype=torch.bool)
    places[:, 2] = True
    assert bool((ids[places] == placeholder).all())
    return places


def _pictures(
    checkpoint: Path, configs: Path, tokenizers: tuple[CLIPTokenizer, CLIPTokenizer]
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Draw and encode pictures; return their latents and the token ids of their captions."""
    rng = random.Random(5)
    scenes = [_scene(rng) for _ in range(_PICTURES)]
    vae: Any = load_pipeline(checkpoint, configs).vae
    arrays = [np.asarray(draw(scene, colours={**COLOURS, NAME: COLOUR})) for scene in scenes]
    with torch.no_grad():
        latents = encoded(vae, torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2))
    captions = [scene.caption.replace(NAME, "a") for scene in scenes]
    return latents, token_ids(tokenizers, captions)


def _scene(rng: random.Random) -> Scene:
    """Draw a scene of one turquoise figure on a background from which it differs."""
    while True:
        scene = training_scene(rng)
        figure = scene.figures[0]
        behind = f"{figure.shape} on a {scene.background} background"
        # The plainest captions: of others the colour is not the second word, or they say where it lies.
        if scene.background not in _BETWEEN and scene.caption == f"a {figure.colour} {behind}":
            turquoise = replace(figure, colour=NAME)
            return Scene(background=scene.background, figures=(turquoise,), caption=f"a {NAME} {behind}")


def _token(tokenizer: CLIPTokenizer, word: str) -> int:
    (token,) = tokenizer(word, add_special_tokens=False).input_ids
    return token


def _write(inserted: list[Inserted], steps: int, out: Path) -> None:
    tensors = {
        name: part.vectors.detach().half().contiguous()
        for name, part in zip(("clip_l", "clip_g"), inserted, strict=True)
    }
    metadata = {
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": "stable-diffusion-xl-v1-base/textual-inversion",
        "modelspec.title": "A colour that the demo model has no word for",
        "ss_steps": str(steps),
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, out, metadata)
    out.chmod(0o644)


if __name__ == "__main__":
    main()
