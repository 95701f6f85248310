"""Recognises, by tensor names, files that are put into a models folder by mistake, so that the refusal can say what they are."""

from collections.abc import Callable
from dataclasses import dataclass

from ..reading import Shapes
from .key_tensors import PREFIXES

_UNET = PREFIXES["unet"]
_FIRST_CONVOLUTION = f"{_UNET}input_blocks.0.0.weight"
_REFINER_CHANNELS = 384
_MAX_NAMED = 4


@dataclass(frozen=True, slots=True)
class _Lookalike:
    what: str
    parts: tuple[str, ...]
    """Parts of tensor names; one tensor whose name holds one of them is enough."""


_UNSUPPORTED = (
    _Lookalike(
        "this is a quantised checkpoint, whose weights need scales that are not applied here. Use its fp16 version.",
        ("scaled_fp8", ".scale_weight", ".weight_scale", ".quant_state.", ".absmax"),
    ),
    _Lookalike(
        "this is an EDM model (CosXL, Playground 2.5), which predicts neither noise nor v; that is not served.",
        ("edm_mean", "edm_vpred.sigma_max"),
    ),
    _Lookalike(
        "this is an LCM model whose UNet takes the guidance scale as an input; that is not served.",
        ("time_embed.cond_proj.weight", "time_embedding.cond_proj.weight"),
    ),
)
_OTHERS = (
    _Lookalike(
        "this is a LoRA, not a model. It changes a model; it makes no images alone.",
        ("lora_down", "lora_up", "lora_A.", "lora_B.", "lora_unet_", "lora_te", "hada_w1", "lokr_w", ".lora.down"),
    ),
    _Lookalike("this is a Flux model; only SDXL models are served.", ("double_blocks.",)),
    _Lookalike("this is a Stable Diffusion 3 model; only SDXL models are served.", ("joint_blocks.",)),
    _Lookalike(
        "this is a ControlNet, not a model.", ("control_model.", "input_hint_block.", "controlnet_cond_embedding.")
    ),
    _Lookalike("this is an IP-Adapter, not a model.", ("image_proj.", "ip_adapter.")),
    _Lookalike(
        "this is a Stable Diffusion 1.x model; only SDXL models are served.", ("cond_stage_model.transformer.",)
    ),
    _Lookalike("this is a Stable Diffusion 2.x model; only SDXL models are served.", ("cond_stage_model.model.",)),
)


def unsupported_variant(shapes: Shapes) -> str | None:
    """Tell what makes a file unusable that has all parts of an SDXL model; None for most files."""
    return _first(_UNSUPPORTED, shapes)


def lookalike(shapes: Shapes) -> str | None:
    """Tell what a file is that does not fit SDXL; None for an SDXL model with a flaw."""
    found = _first(_OTHERS, shapes)
    if found is not None:
        return found
    if not any(key.startswith(_UNET) for key in shapes):
        return _without_unet(shapes)
    return _sdxl_relative(shapes)


def _first(lookalikes: tuple[_Lookalike, ...], shapes: Shapes) -> str | None:
    names = "\n".join(shapes)  # one search through all names takes microseconds, one for each of thousands milliseconds
    return next((one.what for one in lookalikes if any(part in names for part in one.parts)), None)


def _sdxl_relative(shapes: Shapes) -> str | None:
    convolution = shapes.get(_FIRST_CONVOLUTION, ())
    channels = convolution[1] if len(convolution) == 4 else 0
    has_text_2 = any(key.startswith(PREFIXES["text_encoder_2"]) for key in shapes)
    if any(key.startswith("conditioner.embedders.0.model.") for key in shapes) and not has_text_2:
        return "this is the SDXL refiner, which only reworks finished images. Use an SDXL base model."
    if convolution[:1] == (_REFINER_CHANNELS,):
        return "this is the SDXL refiner, which only reworks finished images. Use an SDXL base model."
    if channels == 9:
        return "this is an inpainting model (its UNet takes 9 channels); only text-to-image is served."
    if channels == 8:
        return "this is an image-editing model (its UNet takes 8 channels); only text-to-image is served."
    return None


def _without_unet(shapes: Shapes) -> str:
    for what, is_it in _ALONE:
        if any(is_it(key) for key in shapes):
            return f"this is {what}"
    groups = sorted({key.split(".")[0] for key in shapes})
    shown = ", ".join(repr(group[:40]) for group in groups[:_MAX_NAMED])
    more = ", …" if len(groups) > _MAX_NAMED else ""
    return (
        f"this is not a Stable Diffusion checkpoint: it has no tensors named {_UNET}*, but tensors of {shown}{more}. "
        "Use a full SDXL checkpoint."
    )


_ALONE: tuple[tuple[str, Callable[[str], bool]], ...] = (
    (
        "a UNet alone, in diffusers' layout. Put the whole diffusers folder into the models folder.",
        lambda key: key.startswith(("down_blocks.", "up_blocks.")),
    ),
    (
        "a VAE alone. Use a full SDXL checkpoint; replacing a model's VAE is not supported.",
        lambda key: key.startswith(("encoder.conv_in.", "decoder.conv_in.", PREFIXES["vae"])),
    ),
    (
        "a text encoder alone. Use a full SDXL checkpoint.",
        lambda key: key.startswith(("text_model.", "conditioner.")),
    ),
    ("a textual inversion, not a model.", lambda key: key in ("clip_l", "clip_g", "emb_params")),
)
