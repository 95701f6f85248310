"""What is said about pictures that a request does not have is told to have no effect."""

from typing import Any

import pytest

from litestar_diffusion.domain.requests.parameters import GenerationParameters, Limits
from litestar_diffusion.domain.requests.resolution import resolve
from litestar_diffusion.testing import model


@pytest.mark.parametrize(
    ("stated", "without"),
    [({"strength": 0.5}, "image"), ({"mask_content": "noise"}, "mask"), ({"mask_padding_px": 8}, "mask")],
    ids=["strength", "mask_content", "mask_padding_px"],
)
def test_a_field_about_a_picture_that_is_not_there_is_a_warning(stated: dict[str, Any], without: str) -> None:
    plain = resolve(GenerationParameters(prompt="x"), model("a"), Limits(), random_seed=0)
    found = resolve(GenerationParameters(prompt="x", **stated), model("a"), Limits(), random_seed=0)
    assert set(found.warnings) - set(plain.warnings) == {f"{next(iter(stated))} has no effect without {without}."}
