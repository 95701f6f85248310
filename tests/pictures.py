"""Looks at pictures that come over the wire."""

import base64
import io
from typing import Any

import numpy as np
from PIL import Image

from litestar_diffusion.domain.requests.rendering import RawImage
from training.reading import Reading, read_picture

SHARED_PSNR = 39.0
"""Images that shared steps with others are at least as like those made alone."""


def opened(data: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(data))
    picture.load()
    return picture


def images_of(answer: dict[str, Any]) -> list[bytes]:
    """The files of a JSON answer."""
    return [base64.b64decode(image["image"], validate=True) for image in answer["images"]]


def psnr(one: bytes, other: bytes) -> float:
    """How alike two image files are, in decibels; infinite where every pixel is equal."""
    first, second = (np.asarray(opened(data), dtype=np.float64) for data in (one, other))
    error = np.mean((first - second) ** 2)
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


def seen_in(data: bytes) -> Reading:
    """What an image file shows."""
    return read_picture(opened(data))


def psnr_of(one: RawImage, other: RawImage) -> float:
    """How alike two pictures are, in decibels; infinite if every pixel is equal."""
    first, second = (np.frombuffer(image.pixels, np.uint8).astype(np.float64) for image in (one, other))
    error = np.mean((first - second) ** 2)
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))
