"""Pictures are encoded as diffusers encodes them, once, and in tiles if memory is short."""

import math

import pytest
import torch
from PIL import Image

from litestar_diffusion.domain.requests.pictures.source import FromImage, FromMaskedImage, FromNoise
from litestar_diffusion.infra.sdxl.latents.encode_image import encode_source
from litestar_diffusion.infra.sdxl.loading.components import SdxlModel
from tests.infra.sdxl.test_parity import model_named
from tests.infra.sdxl.test_picture_parity import drawing, picture, stencil


@pytest.fixture
def model() -> SdxlModel:
    return model_named("demo")


def source(image: Image.Image) -> FromImage:
    return FromImage(image=picture(image), image_sha256="", strength=0.6)


def test_noise_has_no_picture(model: SdxlModel) -> None:
    assert encode_source(model, FromNoise(), (64, 64)) is None


@torch.inference_mode()
def test_the_distribution_is_that_of_diffusers(model: SdxlModel) -> None:
    found = encode_source(model, source(drawing()), (64, 64))
    assert found is not None
    pixels = torch.frombuffer(bytearray(drawing().tobytes()), dtype=torch.uint8).view(1, 64, 64, 3).permute(0, 3, 1, 2)
    expected = model.vae.encode(pixels.float() / 127.5 - 1).latent_dist
    torch.testing.assert_close(found.latents.mean, expected.mean, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found.latents.deviation, expected.std, atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_the_same_picture_is_encoded_once(model: SdxlModel) -> None:
    calls: list[int] = []
    hook = model.vae.encoder.register_forward_hook(lambda *_: calls.append(1))
    try:
        for colour in ("olive", "navy", "olive"):
            size = (64, 80 if colour == "navy" else 72)
            encode_source(model, source(Image.new("RGB", size, colour)), size)
    finally:
        hook.remove()
    assert len(calls) == 2


@torch.inference_mode()
def test_tiles_change_the_latents_little(model: SdxlModel) -> None:
    image = drawing().resize((256, 192))
    whole, tiled = (encode_source(model, source(image), image.size, tiled=tiled) for tiled in (False, True))
    assert whole is not None
    assert tiled is not None
    difference = (whole.latents.mean - tiled.latents.mean).square().mean().item()
    assert difference > 0
    assert 10 * math.log10(whole.latents.mean.square().mean().item() / difference) > 15


def test_the_mask_is_one_number_for_each_cell(model: SdxlModel) -> None:
    masked = FromMaskedImage(
        image=picture(drawing()), mask=picture(stencil()), image_sha256="", mask_sha256="", strength=0.6
    )
    found = encode_source(model, masked, (64, 64))
    assert found is not None
    assert found.mask is not None
    assert found.mask.shape == (1, 1, 8, 8)
    assert found.mask[0, 0, 2].tolist() == [0, 0, 0, 1, 1, 1, 1, 1]
