"""One tensor of a network, and how single files in the original layout hold it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """A tensor under its two names, without the component's prefix."""

    diffusers: str
    """Name in a diffusers folder, without the level `text_model.`."""
    original: str
    """Name in a single file in the layout of Stability AI's own files."""
    shape: tuple[int, ...]
    first_row: int | None = None
    """Row at which it begins in the original tensor, which holds queries, keys and values together."""
    transposed: bool = False
    """Whether the original tensor holds its transpose."""
    older: tuple[str, ...] = ()
    """Other names in the diffusers layout: those of older versions."""


def weight_and_bias(diffusers: str, original: str, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Return the two tensors of a layer; the bias has an element for each of the weight's first side."""
    return (
        Tensor(diffusers=f"{diffusers}.weight", original=f"{original}.weight", shape=shape),
        Tensor(diffusers=f"{diffusers}.bias", original=f"{original}.bias", shape=shape[:1]),
    )
