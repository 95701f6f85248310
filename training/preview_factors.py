"""`python -m training.preview_factors`: fits the map from latents to the colours of a preview, and writes it into the sidecars.

Pictures are encoded and decoded by a checkpoint's own autoencoder; the mean colour of each decoded patch of 8 x 8 pixels is then
predicted from the four numbers of its latent, by least squares.
"""

import argparse
import random
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor

from .score import load_pipeline
from .vae import as_input, pictures

_MODELS = Path(__file__).parents[1] / "models"
_NAMES = ("demo", "demo-vpred", "demo-turbo")
_PICTURES = 200
_BATCH = 25
_HEADER = "[preview]"
_NOTE = "# How latents become the colours of a preview; fitted by training/preview_factors.py."


def main() -> None:
    """Fit every shipped model."""
    parser = argparse.ArgumentParser(prog="python -m training.preview_factors", description=__doc__)
    parser.add_argument("--models", type=Path, default=_MODELS, help="folder of the checkpoints (default: models/)")
    folder = parser.parse_args().models
    for name in _NAMES:
        error = write_preview_factors(folder / f"{name}.safetensors", folder / "demo.config")
        print(f"{name}: mean error of a patch's colour {error:.2f} of 255")


def write_preview_factors(checkpoint: Path, configs: Path) -> float:
    """Fit a checkpoint's VAE and write the result into its sidecar; returns the mean error of a colour, of 255."""
    vae: Any = load_pipeline(checkpoint, configs).vae
    latents, colours = samples(vae)
    matrix, bias = fit(latents, colours)
    sidecar = checkpoint.with_suffix(".toml")
    sidecar.write_text(with_factors(sidecar.read_text(encoding="utf-8"), matrix, bias), encoding="utf-8")
    return float(((latents @ matrix + bias).clamp(-1, 1) - colours).abs().mean() * 127.5)


@torch.no_grad()
def samples(vae: AutoencoderKL, count: int = _PICTURES, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return latents as the denoiser has them (cells x 4), and the mean decoded colours of their patches (cells x 3, -1..1)."""
    network: Any = vae
    latents: list[Tensor] = []
    colours: list[Tensor] = []
    for batch in pictures(random.Random(seed), count).split(_BATCH):
        encoded = network.encode(as_input(batch)).latent_dist.mode()
        decoded = network.decode(encoded).sample.clamp(-1, 1)
        latents.append(_cells(encoded * network.config.scaling_factor))
        colours.append(_cells(F.avg_pool2d(decoded, 8)))
    return torch.cat(latents), torch.cat(colours)


def fit(latents: Tensor, colours: Tensor) -> tuple[Tensor, Tensor]:
    """Return the matrix (4 x 3) and the bias (3) with the least squared error."""
    rows = torch.cat([latents, torch.ones(len(latents), 1)], dim=1).double()
    solution = torch.linalg.lstsq(rows, colours.double()).solution.float()
    return solution[:4], solution[4]


def with_factors(sidecar: str, matrix: Tensor, bias: Tensor) -> str:
    """Return a sidecar's text with these factors as its last table; earlier ones are replaced."""
    kept = sidecar.partition(f"{_NOTE}\n")[0].partition(f"{_HEADER}\n")[0].rstrip()
    rows = "\n".join(f"    {_row(row)}," for row in matrix.tolist())
    return f"{kept}\n\n{_NOTE}\n{_HEADER}\nfactors = [\n{rows}\n]\nbias = {_row(bias.tolist())}\n"


def _row(numbers: list[float]) -> str:
    return f"[{', '.join(f'{number:.4f}' for number in numbers)}]"


def _cells(maps: Tensor) -> Tensor:
    return maps.permute(0, 2, 3, 1).flatten(0, 2)


if __name__ == "__main__":
    main()
