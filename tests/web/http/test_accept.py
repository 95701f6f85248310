"""Which format an Accept header asks for."""

import pytest
from litestar.exceptions import HTTPException

from litestar_diffusion.web.http.accept import wanted_image


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        (None, None),
        ("", None),
        (",,,", None),
        (";q=nan", None),
        ("*/*", None),
        ("application/json", None),
        ("image/png", "png"),
        ("IMAGE/JPG", "jpeg"),
        ("image/*", "webp"),
        ("image/png;q=0.5, application/json", None),
        ("image/png;q=2, */*;q=0.1", "png"),
        ("image/avif, image/webp", "webp"),
        ("image/avif, */*;q=0.1", None),
        ("image/png;q=0, image/jpeg", "jpeg"),
    ],
)
def test_the_format_is_what_the_header_prefers(accept: str | None, wanted: str | None) -> None:
    assert wanted_image(accept, "webp") == wanted


@pytest.mark.parametrize("accept", ["image/avif", "text/html", "\xff", "image/x," * 30_000])
def test_a_header_that_allows_no_format_is_told_those_that_there_are(accept: str) -> None:
    with pytest.raises(HTTPException) as refused:
        wanted_image(accept, "png")
    assert refused.value.status_code == 406
    assert "application/json, image/png, image/jpeg, image/webp" in refused.value.detail
    assert len(refused.value.detail) < 300
    assert refused.value.headers == {"vary": "Accept"}
