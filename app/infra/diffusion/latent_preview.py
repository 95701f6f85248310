"""Previews of unfinished images: a linear map from latents to colours.

A latent is close to a thumbnail: one matrix and a bias give the mean colour of the patch of each cell. A preview shows the
denoised estimate, which `denoised` computes from the step's prediction and which is an image from the first step on. The state
itself would be shown as noise that fades.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ...domain.models.spec import PredictionType, PreviewFactors
from ...domain.requests.rendering import RawImage

MAX_SIDE_PX = 256
"""Longer side of a preview."""
_CELL_PX = 4
"""Side of what a cell of a latent, which has one colour here, becomes: more pixels than this would show no more."""
_GREY = 128.0
_LEAST_SIGNAL = 1e-3
"""Share of the image in the model's input below which a predicted noise says nothing about the image."""


@torch.inference_mode()
def preview(latents: Tensor, factors: PreviewFactors, max_side_px: int = MAX_SIDE_PX) -> RawImage:
    """Draw clean latents as a small picture. Engine thread only.

    The device does a few small operations and sends one byte a channel and cell. The host then enlarges bytes, for which torch
    has a far faster kernel than for floats.

    Args:
        latents: 1 x channels x h x w in the denoiser's scale, of any float type.
        factors: the map of the model's VAE, a row for each channel.
        max_side_px: longer side of the preview.
    """
    rows, columns = latents.shape[-2:]
    # 127.5 * (latent x factors + bias + 1), plus a half, so that the cast to bytes rounds instead of truncating
    bias = torch.tensor([number + 1 + 0.5 / 127.5 for number in factors.bias], device=latents.device)
    matrix = torch.tensor(factors.factors, device=latents.device)
    colours = torch.addmm(bias, latents.reshape(latents.shape[1], -1).float().T, matrix, beta=127.5, alpha=127.5)
    cells = colours.nan_to_num_(_GREY).clamp_(0, 255).to(torch.uint8).cpu().view(1, rows, columns, 3)
    height, width = preview_size(rows, columns, max_side_px)
    pixels = functional.interpolate(cells.permute(0, 3, 1, 2), size=(height, width), mode="bilinear", antialias=True)
    return RawImage(width=width, height=height, pixels=pixels.permute(0, 2, 3, 1).contiguous().numpy().tobytes())


def denoised(model_input: Tensor, prediction: Tensor, signal: float, prediction_type: PredictionType) -> Tensor:
    """Estimate the clean latents from a prediction, to be shown with `preview`.

    With x the model's input, a^2 the share of the image in its variance and b^2 = 1 - a^2 that of the noise, the image is
    (x - b eps) / a for a predicted noise eps, and a x - b v for a predicted velocity v (Salimans & Ho 2022,
    arXiv:2202.00512, appendix D).

    Args:
        model_input: result of the sampler's `scale_model_input`, 1 x channels x h x w.
        prediction: the model's guided prediction, of the same shape.
        signal: a^2 at this timestep; see `signal_at`.
        prediction_type: the quantity that the model predicts.
    """
    image, noise = signal**0.5, max(0.0, 1 - signal) ** 0.5
    if prediction_type == "v_prediction":
        return torch.sub(image * model_input, prediction, alpha=noise)
    if image < _LEAST_SIGNAL:
        return model_input
    return torch.sub(model_input, prediction, alpha=noise).div_(image)


def signal_at(sampler: Any, timestep: float) -> float:
    """Return the share of the image in the variance of the model's input, 0..1: alpha bar, interpolated between timesteps.

    It holds for every sampler: all of them follow the noise schedule of training and scale the input to unit variance.
    """
    alphas: Tensor = sampler.alphas_cumprod
    below = min(max(int(timestep), 0), len(alphas) - 1)
    above = min(below + 1, len(alphas) - 1)
    share = min(max(timestep - below, 0.0), 1.0)
    return float(alphas[below]) * (1 - share) + float(alphas[above]) * share


def preview_size(height: int, width: int, max_side_px: int = MAX_SIDE_PX) -> tuple[int, int]:
    """Compute height and width in pixels of the preview of latents of this height and width."""
    scale = min(_CELL_PX, max_side_px / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))
