"""Recognises variants of SDXL that are not served, so that the refusal can say what they are."""

from ..reading import Shapes
from .tensors.key_tensors import PREFIXES

_FIRST_CONVOLUTION = "model.diffusion_model.input_blocks.0.0.weight"
_REFINER = "this is the SDXL refiner, which only reworks finished images. Use an SDXL base model."
_REFINER_CHANNELS = 384
_REFINER_TEXT_ENCODER = "conditioner.embedders.0.model."
_VARIANTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "this is a quantised checkpoint, whose weights need scales that are not applied here. Use its fp16 version.",
        ("scaled_fp8", ".scale_weight", ".weight_scale", ".quant_state.", ".absmax"),
    ),
    (
        "this is an EDM model (CosXL, Playground 2.5), which predicts neither noise nor v; that is not served.",
        ("edm_mean", "edm_vpred.sigma_max"),
    ),
    (
        "this is an LCM model whose UNet takes the guidance scale as an input; that is not served.",
        ("time_embed.cond_proj.weight", "time_embedding.cond_proj.weight"),
    ),
)
"""Refusals, and parts of tensor names; one tensor whose name holds one of them is enough."""


def unsupported_variant(shapes: Shapes) -> str | None:
    """Tell what makes a file unusable that may have all parts of an SDXL base model; None for most files."""
    names = "\n".join(shapes)  # one search through all names takes microseconds, one for each of thousands milliseconds
    return next((what for what, parts in _VARIANTS if any(part in names for part in parts)), None)


def sdxl_relative(shapes: Shapes) -> str | None:
    """Tell which relative of SDXL base a file is that does not fit it; None for an SDXL base model with a flaw."""
    convolution = shapes.get(_FIRST_CONVOLUTION, ())
    channels = convolution[1] if len(convolution) == 4 else 0
    has_text_2 = any(key.startswith(PREFIXES["text_encoder_2"]) for key in shapes)
    if any(key.startswith(_REFINER_TEXT_ENCODER) for key in shapes) and not has_text_2:
        return _REFINER
    if convolution[:1] == (_REFINER_CHANNELS,):
        return _REFINER
    if channels == 8:
        return "this is an image-editing model (its UNet takes 8 channels); that is not served."
    return None
