"""Doubling by phases equals doubling up to rounding, and is used only where it saves time."""

import pytest
import torch
from diffusers.models.upsampling import Upsample2D
from torch.nn.functional import conv2d, interpolate

from litestar_diffusion.infra.diffusion.fast_layers.patches import patch_layers
from litestar_diffusion.infra.diffusion.fast_layers.upsampling import doubled


@pytest.mark.parametrize(
    ("rows", "channels", "outputs", "height", "width"), [(1, 8, 8, 5, 7), (3, 4, 6, 1, 2), (2, 16, 3, 16, 9)]
)
def test_doubling_equals_what_it_replaces(rows: int, channels: int, outputs: int, height: int, width: int) -> None:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(rows, channels, height, width, generator=generator)
    weight = torch.randn(outputs, channels, 3, 3, generator=generator)
    bias = torch.randn(outputs, generator=generator)
    for given in (bias, None):
        plain = conv2d(interpolate(images, scale_factor=2.0), weight, given, padding=1)
        assert torch.allclose(doubled(images, weight, given), plain, atol=1e-4)


def test_large_images_are_doubled_by_phases_and_small_ones_by_diffusers() -> None:
    """The pictures of small models change in no bit."""
    layer = Upsample2D(64, use_conv=True).requires_grad_(False)
    plain = Upsample2D(64, use_conv=True).requires_grad_(False)
    plain.load_state_dict(layer.state_dict())
    patch_layers(layer)
    small, large = torch.randn(1, 64, 8, 8), torch.randn(1, 64, 340, 340)
    assert torch.equal(layer(small), plain(small))
    assert torch.equal(layer(small, (15, 15)), plain(small, (15, 15)))
    assert not torch.equal(layer(large), plain(large))
    assert torch.allclose(layer(large), plain(large), atol=1e-5)
    assert torch.equal(layer(large.bfloat16().float(), (680, 680)), plain(large.bfloat16().float(), (680, 680)))
