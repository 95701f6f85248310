"""The latents that a masked part begins from: those of the picture, noise of the seed, or nothing; around it they stay."""

from typing import Any

import pytest
import torch

from litestar_diffusion.domain.requests.pictures.picture import MaskContent
from litestar_diffusion.infra.sdxl.latents.encode_image import StartingPoint
from litestar_diffusion.infra.sdxl.latents.noised_picture import NoisedPicture
from tests.infra.sdxl.test_parity import model_named

LATENTS, NOISE = torch.full((1, 4, 4, 4), 2.0), torch.full((1, 4, 4, 4), 5.0)
MASK = torch.zeros(1, 1, 4, 4)
MASK[..., 2:] = 1


class NoNoise:
    """A sampler at its last level, where a noised picture is the picture."""

    def add_noise(self, picture: torch.Tensor, *_: Any) -> torch.Tensor:
        return picture


@pytest.mark.parametrize("keeps", [True, False], ids=["four channels", "nine channels"])
@pytest.mark.parametrize(("content", "masked"), [("original", 2.0), ("fill", 2.0), ("noise", 5.0), ("nothing", 0.0)])
def test_the_masked_part_begins_from_what_the_request_says(content: MaskContent, masked: float, keeps: bool) -> None:
    start = StartingPoint(latents=LATENTS, mask=MASK, content=content)
    picture = NoisedPicture(model_named("demo"), start, torch.Generator(), keeps=keeps)
    first = picture.first(NoNoise(), NOISE, torch.tensor(0), full=False)
    assert (first[..., :2] == 2.0).all()
    assert (first[..., 2:] == masked).all()
    kept = picture.kept_around(torch.zeros_like(LATENTS), NoNoise(), None)
    assert (kept[..., :2] == (2.0 if keeps else 0.0)).all()
