"""Latents between two passes: kept in host memory as numbers, and enlarged by interpolation, as the web UI does."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ....domain.families.latents import LATENT_SCALE
from ....domain.requests.pictures.source import FromLatents, Latents


@dataclass(frozen=True, slots=True)
class _Interpolation:
    mode: str
    antialias: bool = False


_INTERPOLATIONS: Mapping[str, _Interpolation] = {
    "latent": _Interpolation("bilinear"),
    "latent-antialiased": _Interpolation("bilinear", antialias=True),
    "latent-bicubic": _Interpolation("bicubic"),
    "latent-bicubic-antialiased": _Interpolation("bicubic", antialias=True),
    "latent-nearest": _Interpolation("nearest"),
    "latent-nearest-exact": _Interpolation("nearest-exact"),
}


def kept(latents: Tensor) -> Latents:
    """Copy the latents of one image, 1 x c x h x w, to the host."""
    _, channels, height, width = latents.shape
    numbers = latents.float().cpu().contiguous().numpy().tobytes()
    return Latents(channels=channels, width=width, height=height, numbers=numbers)


def enlarged_latents(source: FromLatents, index: int, device: torch.device) -> Tensor:
    """Enlarge the latents of an image of the first pass: 1 x c x h x w, float32. Another shape is reached by cutting."""
    latents = source.latents[index]
    numbers = np.frombuffer(latents.numbers, np.float32).reshape(1, latents.channels, latents.height, latents.width)
    width, height = (side // LATENT_SCALE for side in source.size)
    factor = max(width / latents.width, height / latents.height)
    covering = max(height, round(latents.height * factor)), max(width, round(latents.width * factor))
    how = _INTERPOLATIONS[source.upscaler]
    # On the CPU, so that the result is the same on every device; latents are small.
    enlarged = interpolate(torch.from_numpy(numbers.copy()), size=covering, mode=how.mode, antialias=how.antialias)
    top, left = (covering[0] - height) // 2, (covering[1] - width) // 2
    return enlarged[..., top : top + height, left : left + width].contiguous().to(device)
