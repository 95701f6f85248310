"""The autoencoder: an encoder that is constructed, not learned, and a decoder that is trained to invert it.

A latent is a thumbnail: the mean colour of each 8 x 8 patch in three decorrelated channels, and in a fourth the
brightness of the patch half a step further right and down, which doubles the resolution of edges. Since the latents are
known from the start, the denoiser need not wait for the decoder.
"""

import math
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor, nn

from .drawing import draw
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
"""A constant in the encoder's stream, far above the colours, that keeps normalisation from erasing a flat picture."""
_LATENT_NOISE = 0.06
_LEARNING_RATE = 3e-3


def train_vae(out: Path, minutes: float, start: Path | None = None) -> None:
    """Train the decoder for so many minutes; the state dict is saved every half minute and at the end."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rng = random.Random(100)
    data = pictures(rng, 600 if minutes < 1 else 3000)
    if start is None:
        vae = AutoencoderKL(**CONFIG)
        construct_encoder(vae, data[:600])
        _ease_decoder(vae)
    else:
        vae = load_vae(start).train()
    average = AutoencoderKL(**CONFIG)
    average.load_state_dict(vae.state_dict())
    torch.save(average.state_dict(), out)
    with torch.no_grad():
        latents = torch.cat([encoded(vae, batch) for batch in data.split(200)])
    held_out = as_input(pictures(random.Random(7), 24))
    decoder = [*vae.decoder.parameters(), *vae.post_quant_conv.parameters()]
    optimizer = torch.optim.AdamW(decoder, lr=_LEARNING_RATE, weight_decay=0.01, betas=(0.9, 0.99))
    begun, saved, step, done = time.monotonic(), time.monotonic(), 0, 0.0
    while done < 1:
        crop, batch = (64, 10) if done < 0.6 else (128, 4)
        images, codes = _crops(data, latents, crop, batch, rng)
        loss = _loss(vae, images, codes)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(decoder, 1.0)
        done = min(1, (time.monotonic() - begun) / (minutes * 60))
        cosine = 0.02 + 0.98 * math.cos(math.pi / 2 * done) ** 2
        optimizer.param_groups[0]["lr"] = _LEARNING_RATE * min(1, (step + 1) / 50) * cosine * (0.3 if start else 1)
        optimizer.step()
        follow(average, vae, min(0.99, step / (step + 5)))
        step += 1
        if step % 100 == 0:
            print(
                f"vae step {step} {done:.0%} loss {loss.item():.4f} PSNR {_psnr(average, held_out):.2f} dB", flush=True
            )
        if time.monotonic() - saved > 30 or done >= 1:
            saved = time.monotonic()
            torch.save(average.state_dict(), out)
    print(f"vae PSNR {_psnr(average, held_out):.2f} dB after {step} steps", flush=True)


def load_vae(path: Path) -> AutoencoderKL:
    """The trained autoencoder."""
    vae = AutoencoderKL(**CONFIG)
    vae.load_state_dict(torch.load(path))
    return vae.eval()


def pictures(rng: random.Random, count: int) -> Tensor:
    """Random training pictures, uint8, count x 3 x 128 x 128; every tenth is clutter, so that no texture is foreign."""
    arrays = [_clutter(rng) if i % 10 == 9 else np.asarray(draw(training_scene(rng))) for i in range(count)]
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).contiguous()


def as_input(images: Tensor) -> Tensor:
    """uint8 pictures as the network wants them: float in -1..1."""
    return images.float() / 127.5 - 1


def encoded(vae: AutoencoderKL, images: Tensor) -> Tensor:
    """Scaled latents of uint8 pictures: what the encoder computes, straight from the means, which is much faster."""
    values = _thumbnails(as_input(images))
    matrix = vae.encoder.conv_out.weight[:4, :4, 1, 1]
    return SCALING_FACTOR * (torch.einsum("oi,bihw->bohw", matrix, values) + vae.encoder.conv_out.bias[:4, None, None])


@torch.no_grad()
def construct_encoder(vae: AutoencoderKL, images: Tensor) -> None:
    """Set the encoder's weights so that it computes `encoded`, normalised over the given uint8 pictures.

    Every residual branch is zero. What is left of the network is linear but for the last normalisation, held almost
    constant by `_ANCHOR`, and the last SiLU, undone by silu(x) - silu(-x) = x.
    """
    encoder = vae.encoder
    for name, module in encoder.named_modules():
        silent = name.endswith(("conv2", "to_out.0", "conv_shortcut", "downsamplers.0.conv", "conv_in", "conv_out"))
        if silent:
            module.weight.zero_()
            module.bias.zero_()
    encoder.conv_in.weight[range(3), range(3), 1, 1] = 1
    for level, block in enumerate(encoder.down_blocks):
        shortcut = block.resnets[0].conv_shortcut
        if level == 3:
            shortcut.weight[range(4), range(4), 0, 0] = 1
            shortcut.weight[range(4, 8), range(4), 0, 0] = -1
            shortcut.bias[8], shortcut.bias[9] = _ANCHOR, -_ANCHOR
            continue
        if shortcut is not None:
            shortcut.weight[range(3), range(3), 0, 0] = 1
        weight = block.downsamplers[0].conv.weight
        for channel in range(3):
            weight[channel, channel, :2, :2] = 0.25
            if level == 2:
                weight[3, channel, 1:, 1:] = 0.25 * _BRIGHTNESS[channel]
    norm = encoder.conv_norm_out
    norm.weight.zero_()
    norm.bias.zero_()
    norm.weight[:8] = _ANCHOR * math.sqrt(2 / len(norm.weight))
    matrix, bias = _whitening(_thumbnails(as_input(images)))
    encoder.conv_out.weight[:4, :4, 1, 1] = matrix / SCALING_FACTOR
    encoder.conv_out.weight[:4, 4:8, 1, 1] = -matrix / SCALING_FACTOR
    encoder.conv_out.bias[:4] = bias / SCALING_FACTOR
    encoder.conv_out.bias[4:] = -12  # latents are certain: exp(-12) of variance
    vae.quant_conv.weight.copy_(torch.eye(8)[:, :, None, None])
    vae.quant_conv.bias.zero_()
    vae.encoder.requires_grad_(False)
    vae.quant_conv.requires_grad_(False)


def _thumbnails(images: Tensor) -> Tensor:
    """Mean colour of each patch, and the brightness of the window half a patch on (zeros beyond the border)."""
    brightness = torch.einsum("c,bchw->bhw", torch.tensor(_BRIGHTNESS), images)[:, None]
    return torch.cat([F.avg_pool2d(images, 8), F.avg_pool2d(F.pad(brightness[..., 4:, 4:], (0, 4, 0, 4)), 8)], dim=1)


def _whitening(values: Tensor) -> tuple[Tensor, Tensor]:
    """A matrix and a bias that give every channel mean 0 and deviation 1, the three of colour decorrelated."""
    flat = values.transpose(0, 1).flatten(1)
    mean = flat.mean(dim=1)
    variances, axes = torch.linalg.eigh(torch.cov(flat[:3]))
    matrix = torch.zeros(4, 4)
    matrix[:3, :3] = (axes / variances.sqrt()).T
    matrix[3, 3] = 1 / flat[3].std()
    return matrix, -matrix @ mean


@torch.no_grad()
def _ease_decoder(vae: AutoencoderKL) -> None:
    """Start the decoder near a linear upsampling: orthogonal maps amid each kernel, quiet residual branches."""
    for name, module in vae.decoder.named_modules():
        if not isinstance(module, nn.Conv2d) or name.endswith(("conv1", "conv_out")):
            continue
        if name.endswith("conv2"):
            module.weight.mul_(0.3)
            continue
        middle = module.kernel_size[0] // 2
        module.weight.mul_(0.3)
        module.weight[:, :, middle, middle] = nn.init.orthogonal_(torch.empty(module.weight.shape[:2]))
        module.bias.zero_()
    vae.decoder.conv_in.bias.copy_(torch.randint(0, 2, vae.decoder.conv_in.bias.shape) * 2.0 - 1)
    vae.post_quant_conv.weight.copy_(SCALING_FACTOR * torch.eye(4)[:, :, None, None])
    vae.post_quant_conv.bias.zero_()


def _clutter(rng: random.Random) -> np.ndarray[Any, Any]:
    """Gradients with blocks of palette colours."""
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
    """Reconstruction from slightly noisy latents, since the denoiser's will never be exact either."""
    noisy = latents + _LATENT_NOISE * torch.randn_like(latents)
    error = vae.decode(noisy / SCALING_FACTOR).sample - images
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
    decoded = vae.decode(vae.encode(images).latent_dist.mode()).sample.clamp(-1, 1)
    return float(10 * torch.log10(4 / (decoded - images).square().mean()))
