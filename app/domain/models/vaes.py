"""VAEs in files of their own, which replace the one of a model: they turn latents to pictures, and pictures to latents."""

from dataclasses import dataclass
from pathlib import Path
from typing import NewType

VaeName = NewType("VaeName", str)
"""A name in the catalogue's list of VAEs. Only the catalogue makes them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VaeReading:
    """What the header of a VAE's file tells."""

    family: str
    evidence: tuple[str, ...] = ()
    """Evidence for it, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VaeSpec:
    """A catalogue entry of a VAE: everything that is known of it without reading a tensor."""

    name: VaeName
    path: Path
    nbytes: int
    """Size of its file."""
    numbers: int = 0
    """Numbers in its tensors; 0 if they are not known."""
    version: str
    """Text that changes with its file."""
    reading: VaeReading | None
    """None if it is unusable."""
    unusable: str | None = None
    """Reason for which it cannot be used; None for a usable one."""
    builtin: bool = False
    """Whether it ships with the package."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VaeUse:
    """The VAE of a request."""

    name: VaeName
    version: str
