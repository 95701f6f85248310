"""The autoencoder: an encoder that is constructed, not learned, and a decoder that is trained to invert it.

A latent is a thumbnail: the mean colour of each 8 x 8 patch in three decorrelated channels, and in a fourth the
brightness of the patch half a step further right and down, which doubles the resolution of edges. Since the latents are
known from the start, the denoiser need not wait for the decoder.
"""

import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor, nn

from .drawing import draw
from .progress import Progress, cosine
from .scenes import COLOURS, training_scene
from .weights import follow

SCALING_FACTOR = 0.13025
"""SDXL's own. The latents' deviation is chosen so that scaled latents are N(0, 1) per channel."""

CONFIG: dict[str, Any] = {
    "in_channels": 3,
    "out_channels": 3,
    "latent_channels": 4,
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "block_out_channels": [8, 16, 32, 64],
    "layers_per_block": 1,
    "norm_num_groups": 1,
    "sample_size": 128,
    "scaling_factor": SCALING_FACTOR,
    "force_upcast": False,
}
_BRIGHTNESS = (0.299, 0.587, 0.114)
_ANCHOR = 30.0
"""Constant in the encoder's stream, far above the colours, with which normalisation does not erase a flat picture."""
_LATENT_NOISE = 0.06
_LEARNING_RATE = 3e-3
_SMALL, _WHOLE = (64, 10), (128, 4)
"""Sides of the crops in pixels and batch sizes: most steps see much variety, the last steps see real borders."""
_SMALL_SHARE = 0.7


def train_vae(out: Path, steps: int, count: int) -> None:
    """Train the decoder with the given numbers of steps and pictures, and save its state dict."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rng = random.Random(100)
    data = pictures(rng, count)
    vae = AutoencoderKL(**CONFIG)
    construct_encoder(vae, data[:600])
    _ease_decoder(vae)
    average = AutoencoderKL(**CONFIG)
    average.load_state_dict(vae.state_dict())
    with torch.no_grad():
        latents = torch.cat([encoded(vae, batch) for batch in data.split(200)])
    held_out = as_input(pictures(random.Random(7), 24))
    decoder = [*vae.decoder.parameters(), *_layer(vae, "post_quant_conv")]
    optimizer = torch.optim.AdamW(decoder, lr=_LEARNING_RATE, weight_decay=0.01, betas=(0.9, 0.99))
    progress = Progress(steps)
    for step in range(1, steps + 1):
        images, codes = _crops(data, latents, *(_SMALL if step < _SMALL_SHARE * steps else _WHOLE), rng)
        loss = _loss(vae, images, codes)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(decoder, 1.0)
        optimizer.param_groups[0]["lr"] = _LEARNING_RATE * min(1, step / 50) * cosine(step / steps)
        optimizer.step()
        follow(average, vae, min(0.99, (step - 1) / (step + 4)))
        if step % 100 == 0:
            print(
                f"vae {progress.told(step)} loss {loss.item():.4f} PSNR {_psnr(average, held_out):.2f} dB", flush=True
            )
    torch.save(average.state_dict(), out)
    print(f"vae PSNR {_psnr(average, held_out):.2f} dB after {steps} steps", flush=True)


def load_vae(path: Path) -> AutoencoderKL:
    """Load the trained autoencoder."""
    vae = AutoencoderKL(**CONFIG)
    vae.load_state_dict(torch.load(path))
    return vae.eval()


def pictures(rng: random.Random, count: int) -> Tensor:
    """Draw random training pictures, uint8, count x 3 x 128 x 128; every tenth is clutter, so that no texture is foreign."""
    arrays = [_clutter(rng) if i % 10 == 9 else np.asarray(draw(training_scene(rng))) for i in range(count)]
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).contiguous()


def as_input(images: Tensor) -> Tensor:
    """Convert uint8 pictures to the network's floats in -1..1."""
    return images.float() / 127.5 - 1


def encoded(vae: AutoencoderKL, images: Tensor) -> Tensor:
    """Compute the scaled latents of uint8 pictures from means; equal to the encoder's output, and much faster."""
    values = _thumbnails(as_input(images))
    weight, bias = _layer(vae, "encoder.conv_out")
    return SCALING_FACTOR * (torch.einsum("oi,bihw->bohw", weight[:4, :4, 1, 1], values) + bias[:4, None, None])


@torch.no_grad()
def shift_latents(vae: AutoencoderKL, mean: float) -> None:
    """Move the mean of all scaled latents from 0 to `mean`, and adapt the decoder.

    SDXL's own latents are not centred either. With a mean, a wrong prediction type is visible: it amplifies the mean like the
    picture, so every colour shifts; centred latents would only become more vivid.
    """
    _layer(vae, "encoder.conv_out")[1][:4] += mean / SCALING_FACTOR
    weight, bias = _layer(vae, "post_quant_conv")
    bias -= weight.sum(dim=(1, 2, 3)) * mean / SCALING_FACTOR


@torch.no_grad()
def construct_encoder(vae: AutoencoderKL, images: Tensor) -> None:
    """Set the encoder's weights so that it computes `encoded`, normalised over the given uint8 pictures.

    Every residual branch is zero. The rest of the network is linear except for the last normalisation, held almost
    constant by `_ANCHOR`, and the last SiLU, undone by silu(x) - silu(-x) = x.
    """
    cleared = ("conv2", "to_out.0", "conv_shortcut", "downsamplers.0.conv", "conv_in", "conv_out", "conv_norm_out")
    for name, _ in vae.named_modules():
        if name.startswith("encoder.") and name.endswith(cleared):
            for values in _layer(vae, name):
                values.zero_()
    rgb, values, negatives = range(3), range(4), range(4, 8)
    _layer(vae, "encoder.conv_in")[0][rgb, rgb, 1, 1] = 1
    for level in range(3):
        if level > 0:
            _layer(vae, f"encoder.down_blocks.{level}.resnets.0.conv_shortcut")[0][rgb, rgb, 0, 0] = 1
        halving = _layer(vae, f"encoder.down_blocks.{level}.downsamplers.0.conv")[0]
        for channel in rgb:
            halving[channel, channel, :2, :2] = 0.25
            if level == 2:
                halving[3, channel, 1:, 1:] = 0.25 * _BRIGHTNESS[channel]
    weight, bias = _layer(vae, "encoder.down_blocks.3.resnets.0.conv_shortcut")
    weight[values, values, 0, 0] = 1
    weight[negatives, values, 0, 0] = -1
    bias[8], bias[9] = _ANCHOR, -_ANCHOR
    norm = _layer(vae, "encoder.conv_norm_out")[0]
    norm[:8] = _ANCHOR * math.sqrt(2 / len(norm))
    matrix, offset = _whitening(_thumbnails(as_input(images)))
    weight, bias = _layer(vae, "encoder.conv_out")
    weight[:4, :4, 1, 1] = matrix / SCALING_FACTOR
    weight[:4, 4:8, 1, 1] = -matrix / SCALING_FACTOR
    bias[:4] = offset / SCALING_FACTOR
    bias[4:] = -12  # latents are certain: exp(-12) of variance
    weight, bias = _layer(vae, "quant_conv")
    weight.copy_(torch.eye(8)[:, :, None, None])
    bias.zero_()


def _layer(vae: AutoencoderKL, name: str) -> tuple[Tensor, Tensor]:
    """Return the weight and the bias of a layer, by its name."""
    layer: Any = vae.get_submodule(name)
    return layer.weight, layer.bias


def _decode(vae: AutoencoderKL, latents: Tensor) -> Tensor:
    """Decode scaled latents to pictures in -1..1."""
    network: Any = vae
    return network.decode(latents / SCALING_FACTOR).sample


def _encode(vae: AutoencoderKL, images: Tensor) -> Tensor:
    """Encode pictures in -1..1 to scaled latents with the network."""
    network: Any = vae
    return network.encode(images).latent_dist.mode() * SCALING_FACTOR


def _thumbnails(images: Tensor) -> Tensor:
    """Return the mean colour of each patch, and the brightness of the window half a patch further (zeros beyond the border)."""
    brightness = torch.einsum("c,bchw->bhw", torch.tensor(_BRIGHTNESS), images)[:, None]
    return torch.cat([F.avg_pool2d(images, 8), F.avg_pool2d(F.pad(brightness[..., 4:, 4:], (0, 4, 0, 4)), 8)], dim=1)


def _whitening(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return a matrix and a bias that give every channel mean 0 and deviation 1, and decorrelate the three of colour."""
    flat = values.transpose(0, 1).flatten(1)
    mean = flat.mean(dim=1)
    variances, axes = torch.linalg.eigh(torch.cov(flat[:3]))
    matrix = torch.zeros(4, 4)
    matrix[:3, :3] = (axes / variances.sqrt()).T
    matrix[3, 3] = 1 / flat[3].std()
    return matrix, -matrix @ mean


@torch.no_grad()
def _ease_decoder(vae: AutoencoderKL) -> None:
    """Initialise the decoder near a linear upsampling: orthogonal maps in the centre of each kernel, small residual branches."""
    for name, module in vae.decoder.named_modules():
        if not isinstance(module, nn.Conv2d) or name.endswith(("conv1", "conv_out")):
            continue
        weight, bias = _layer(vae, f"decoder.{name}")
        weight.mul_(0.3)
        if name.endswith("conv2"):
            continue
        middle = weight.shape[-1] // 2
        weight[:, :, middle, middle] = nn.init.orthogonal_(torch.empty(weight.shape[:2]))
        bias.zero_()
    bias = _layer(vae, "decoder.conv_in")[1]
    bias.copy_(torch.randint(0, 2, bias.shape) * 2.0 - 1)
    weight, bias = _layer(vae, "post_quant_conv")
    weight.copy_(SCALING_FACTOR * torch.eye(4)[:, :, None, None])
    bias.zero_()


def _clutter(rng: random.Random) -> np.ndarray[Any, Any]:
    """Draw gradients with blocks of palette colours."""
    ramp = np.linspace(0, 1, 128)[:, None, None]
    ends = np.array([[rng.randrange(256) for _ in range(3)] for _ in range(2)], dtype=np.float64)
    picture = np.broadcast_to(ends[0] * (1 - ramp) + ends[1] * ramp, (128, 128, 3)).copy()
    if rng.random() < 0.5:
        picture = picture.swapaxes(0, 1).copy()
    for _ in range(rng.randrange(8)):
        x, y, w, h = rng.randrange(128), rng.randrange(128), rng.randrange(4, 64), rng.randrange(4, 64)
        picture[y : y + h, x : x + w] = rng.choice(list(COLOURS.values()))
    return picture.astype(np.uint8)


def _loss(vae: AutoencoderKL, images: Tensor, latents: Tensor) -> Tensor:
    """Return the loss of reconstruction from slightly noisy latents, because those of the denoiser are not exact either."""
    noisy = latents + _LATENT_NOISE * torch.randn_like(latents)
    error = _decode(vae, noisy) - images
    edges = (error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()) / 2
    return error.abs().mean() + 0.3 * error.square().mean() + 0.5 * edges


def _crops(data: Tensor, latents: Tensor, crop: int, batch: int, rng: random.Random) -> tuple[Tensor, Tensor]:
    images, codes = [], []
    for _ in range(batch):
        x, y = (rng.randrange(0, (128 - crop) // 8 + 1) for _ in range(2))
        row, cells = rng.randrange(len(data)), crop // 8
        images.append(data[row, :, y * 8 : y * 8 + crop, x * 8 : x * 8 + crop])
        codes.append(latents[row, :, y : y + cells, x : x + cells])
    return as_input(torch.stack(images)), torch.stack(codes)


@torch.no_grad()
def _psnr(vae: AutoencoderKL, images: Tensor) -> float:
    decoded = _decode(vae, _encode(vae, images)).clamp(-1, 1)
    return float(10 * torch.log10(4 / (decoded - images).square().mean()))
