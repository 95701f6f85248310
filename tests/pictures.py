"""Looks at pictures that come over the wire."""

import base64
import io
from typing import Any

from PIL import Image

from training.reading import Reading, read_picture


def opened(data: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(data))
    picture.load()
    return picture


def images_of(answer: dict[str, Any]) -> list[bytes]:
    """The files of a JSON answer."""
    return [base64.b64decode(image["image"], validate=True) for image in answer["images"]]


def seen_in(data: bytes) -> Reading:
    """What an image file shows."""
    return read_picture(opened(data))
