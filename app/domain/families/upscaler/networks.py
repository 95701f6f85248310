"""What an upscaler's header tells of its network."""

from dataclasses import dataclass
from typing import Literal

Architecture = Literal["ESRGAN", "Compact"]
"""Identifiers of spandrel, which builds the networks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpscalerNetwork:
    """Sizes of an upscaler's network."""

    architecture: Architecture
    scale: int
    """Factor by which it enlarges both sides."""
    features: int
    """Channels of its layers."""
    layers: int
    """Blocks of an ESRGAN, convolutions of a Compact."""
    shuffled: int = 1
    """Side in pixels of the squares that are one cell of its input: 2 or 4 for ESRGANs that begin with a pixel unshuffle."""


USUAL = UpscalerNetwork(architecture="ESRGAN", scale=4, features=64, layers=23)
"""The network of ESRGAN and of Real-ESRGAN x4."""
