"""Refusals name values that would be let through."""

import pytest

from litestar_diffusion.domain.requests.parameters import GenerationParameters, Limits
from litestar_diffusion.domain.requests.resolving.broken_limits import broken_limits
from litestar_diffusion.testing import model


@pytest.mark.parametrize(
    ("width", "advice"),
    [
        (100, "the nearest are 96 and 104"),
        (4100, "the nearest is 4096"),
        (5001, "the nearest is 4096"),
        (10, "the nearest is 64"),
        (65, "the nearest are 64 and 72"),
    ],
)
def test_the_nearest_sides_are_within_the_limits(width: int, advice: str) -> None:
    (error,) = broken_limits(GenerationParameters(prompt="x", width=width, height=64), model("a"), Limits())
    assert error.field == "width"
    assert error.message.endswith(advice)
