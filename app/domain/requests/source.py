"""What the first latents of a request are made from."""

import msgspec


class FromNoise(msgspec.Struct, frozen=True, tag="noise"):
    """Pure noise, drawn from the seed of each image: text to image."""


Source = FromNoise
"""A tagged union: an image and a masked image become further members."""
