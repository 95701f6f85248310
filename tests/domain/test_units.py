"""Quantities as text."""

import pytest

from litestar_diffusion.domain.units import format_bytes


@pytest.mark.parametrize(
    ("nbytes", "text"), [(0, "0.0 MB"), (10_640_000, "10.6 MB"), (100_000_000, "0.10 GB"), (6_938_040_682, "6.94 GB")]
)
def test_bytes_are_shown_in_the_unit_that_has_few_digits(nbytes: int, text: str) -> None:
    assert format_bytes(nbytes) == text
