"""Chooses between JSON and image files by the Accept header."""

from ...domain.requests.parameters import OutputFormat
from .media_types import IMAGES, JSON

_FORMATS: dict[str, OutputFormat] = {"image/jpg": "jpeg", **{media_type: name for name, media_type in IMAGES.items()}}


def wanted_image(accept: str | None, preferred: OutputFormat) -> OutputFormat | None:
    """Return the image format that a client wants as the body itself; None if it wants or takes JSON.

    `image/*` means the format that the body asks for. Quality values decide between JSON and images; ties go to the
    one named first.
    """
    for media_type in _by_preference(accept or "*/*"):
        if media_type in (JSON, "application/*", "*/*"):
            return None
        if media_type == "image/*":
            return preferred
        if media_type in _FORMATS:
            return _FORMATS[media_type]
    return None


def _by_preference(accept: str) -> list[str]:
    entries: list[tuple[float, int, str]] = []
    for index, entry in enumerate(accept.split(",")):
        media_type, *parameters = (part.strip().lower() for part in entry.split(";"))
        quality = next((_quality(p) for p in parameters if p.startswith("q=")), 1.0)
        if quality > 0:
            entries.append((-quality, index, media_type))
    return [media_type for _, _, media_type in sorted(entries)]


def _quality(parameter: str) -> float:
    try:
        return float(parameter.removeprefix("q="))
    except ValueError:
        return 1.0
