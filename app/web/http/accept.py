"""Chooses between JSON and image files by the Accept header."""

from collections.abc import Mapping

from ...domain.requests.fields import OutputFormat
from .errors.refusals import not_acceptable
from .media_types import IMAGES, JSON

_FORMATS: Mapping[str, OutputFormat] = {
    "image/jpg": "jpeg",
    **{media_type: name for name, media_type in IMAGES.items()},
}
_AS_JSON = frozenset({JSON, "application/*", "*/*"})
_MAX_ENTRIES = 100
VARY: Mapping[str, str] = {"vary": "Accept"}
"""Header of every answer whose media type depends on the Accept header, so that caches keep the answers apart."""


def wanted_image(accept: str | None, preferred: OutputFormat) -> OutputFormat | None:
    """Return the image format that a client wants as the body itself; None if it wants or takes JSON.

    `image/*` means the format that the body asks for. Quality values decide between JSON and images; ties go to the
    one named first.

    Raises:
        HTTPException: 406, the client takes none of the formats that there are.
    """
    media_types = by_preference(accept or "")
    for media_type in media_types or ["*/*"]:
        if media_type in _AS_JSON:
            return None
        if media_type == "image/*":
            return preferred
        if media_type in _FORMATS:
            return _FORMATS[media_type]
    raise not_acceptable(media_types)


def by_preference(accept: str) -> list[str]:
    """List the media types, or encodings, of a header, the most wanted first; without those refused by a quality of 0."""
    entries: list[tuple[float, int, str]] = []
    for index, entry in enumerate(accept.split(",", _MAX_ENTRIES)[:_MAX_ENTRIES]):
        media_type, *parameters = (part.strip().lower() for part in entry.split(";"))
        quality = next((_quality(p) for p in parameters if p.startswith("q=")), 1.0)
        if media_type and quality > 0:
            entries.append((-quality, index, media_type))
    return [media_type for _, _, media_type in sorted(entries)]


def _quality(parameter: str) -> float:
    try:
        quality = float(parameter.removeprefix("q="))
    except ValueError:
        return 1.0
    return quality if 0 <= quality <= 1 else 1.0
