"""Where single files hold a tensor: the names under which public converters and trainers write it.

Stability AI's own layout, which sd-scripts, OneTrainer, ComfyUI and diffusers' script write too; diffusers' names under the same
prefixes, as merges and conversions of single components leave them; and whole pipelines in one file.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from .tensor import Tensor

ComponentName = Literal["unet", "vae", "text_encoder", "text_encoder_2"]
COMPONENTS: tuple[ComponentName, ...] = ("unet", "vae", "text_encoder", "text_encoder_2")
TITLES: dict[ComponentName, str] = {
    "unet": "UNet",
    "vae": "VAE",
    "text_encoder": "first text encoder",
    "text_encoder_2": "second text encoder",
}
PREFIXES: dict[ComponentName, tuple[str, ...]] = {
    "unet": ("model.diffusion_model.", "unet."),
    "vae": ("first_stage_model.", "vae."),
    "text_encoder": ("conditioner.embedders.0.", "text_encoder."),
    "text_encoder_2": ("conditioner.embedders.1.", "text_encoder_2."),
}
"""Prefixes of each component's tensors in a single file."""
_ORIGINAL: dict[ComponentName, tuple[str, ...]] = {
    "unet": ("model.diffusion_model.",),
    "vae": ("first_stage_model.", "vae."),
    "text_encoder": (),
    "text_encoder_2": ("conditioner.embedders.1.model.",),
}
"""Prefixes before names of the original layout, which for the first text encoder are those of transformers."""
_DIFFUSERS: dict[ComponentName, tuple[str, ...]] = {
    "unet": PREFIXES["unet"],
    "vae": PREFIXES["vae"],
    "text_encoder": tuple(
        f"{prefix}{level}"
        for prefix in (
            "conditioner.embedders.0.transformer.",
            "conditioner.embedders.0.model.transformer.",
            "text_encoder.",
        )
        for level in ("text_model.", "")
    ),
    "text_encoder_2": tuple(
        f"{prefix}{level}"
        for prefix in (
            "conditioner.embedders.1.model.",
            "conditioner.embedders.1.model.transformer.",
            "conditioner.embedders.1.transformer.",
            "text_encoder_2.",
        )
        for level in ("text_model.", "")
    ),
}
"""Prefixes before names of diffusers and transformers; transformers 5 drops the level `text_model.`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A tensor of a single file that holds a tensor of a network, whole, as some of its rows, or as its transpose."""

    key: str
    shape: tuple[int, ...]
    """Shape in the file."""
    wanted: tuple[int, ...]
    """Shape in the network."""
    first_row: int | None = None
    transposed: bool = False

    def fits(self, found: tuple[int, ...] | None) -> bool:
        """Tell whether a file's shape is the right one; convolutions of one pixel are matrices."""
        return found is not None and (found == self.shape or _matrix(found) == _matrix(self.shape))


def sources_of(component: ComponentName, tensor: Tensor) -> tuple[Source, ...]:
    """List where a single file may hold a tensor, the usual place first."""
    return tuple(_sources(component, tensor))


def _sources(component: ComponentName, tensor: Tensor) -> Iterator[Source]:
    for prefix in _ORIGINAL[component]:
        yield Source(
            key=prefix + tensor.original,
            shape=_original_shape(tensor),
            wanted=tensor.shape,
            first_row=tensor.first_row,
            transposed=tensor.transposed,
        )
    for prefix in _DIFFUSERS[component]:
        for name in (tensor.diffusers, *tensor.older):
            yield Source(key=prefix + name, shape=tensor.shape, wanted=tensor.shape)


def _original_shape(tensor: Tensor) -> tuple[int, ...]:
    if tensor.transposed:
        return tensor.shape[::-1]
    if tensor.first_row is not None:
        return (3 * tensor.shape[0], *tensor.shape[1:])
    return tensor.shape


def _matrix(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Leave out the sides of 1 after the second."""
    return shape[:2] if all(side == 1 for side in shape[2:]) else shape
