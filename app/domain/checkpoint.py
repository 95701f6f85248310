"""What a checkpoint is, from its tensor header alone: names, shapes, metadata. No tensor is read."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import msgspec

from .model import FewStep, FewStepKind, ModelOverrides, ModelTraits, PredictionType

Shapes = Mapping[str, tuple[int, ...]]
"""Tensor names and shapes."""

UNET = "model.diffusion_model."
VAE = "first_stage_model."
TEXT_1 = "conditioner.embedders.0.transformer."
TEXT_2 = "conditioner.embedders.1.model."
_REFINER_TEXT = "conditioner.embedders.0.model."
_FIRST_CONVOLUTION = f"{UNET}input_blocks.0.0.weight"

_FEW_STEP_WORDS: tuple[tuple[str, FewStepKind, int], ...] = (
    (r"turbo", "turbo", 1),
    (r"lightning", "lightning", 4),
    (r"hyper", "hyper", 8),
    (r"(?<![a-z])lcm(?![a-z])", "lcm", 4),
    (r"dmd2?(?![a-z])", "dmd2", 4),
)
_STEPS_IN_NAME = re.compile(r"(?<!\d)(\d{1,2})[ _-]?steps?(?![a-z])")


class NotServable(ValueError):
    """The header is of something else than an SDXL base model; the message says what, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Widths:
    """The sizes that a checkpoint's key tensors must have, from its component configs."""

    unet_in_channels: int = 4
    unet_channels: int = 320
    text_1_width: int = 768
    text_2_width: int = 1280
    vae_channels: int = 128
    sample_size_px: int = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Traits, and how each was found."""

    traits: ModelTraits
    evidence: tuple[str, ...]


def read_traits(shapes: Shapes, metadata: Mapping[str, str], name: str, widths: Widths) -> Reading:
    """The traits of a single-file checkpoint.

    Args:
        shapes: every tensor of the header.
        metadata: the header's `__metadata__`.
        name: the file's name without suffix; the weakest evidence.
        widths: what the component configs promise.

    Raises:
        NotServable: it is not an SDXL base model, or parts of it are missing or have the wrong size.
    """
    _refuse_others(shapes)
    _refuse_incomplete(shapes)
    _refuse_wrong_widths(shapes, widths)
    prediction, how_predicted = _prediction_type(shapes, metadata)
    zero_snr, how_zero = _zero_snr(shapes, metadata)
    few_step, how_few = few_step_from_words(metadata, name)
    traits = ModelTraits(
        prediction_type=prediction,
        zero_snr=zero_snr,
        few_step=few_step,
        size_px=512
        if few_step is not None and few_step.kind == "turbo" and widths.sample_size_px == 1024
        else widths.sample_size_px,
    )
    kind = "SDXL base: a UNet with SDXL's text-and-time embedding, two text encoders and a VAE are in the file"
    return Reading(traits=traits, evidence=(kind, how_predicted, how_zero, how_few))


def apply_overrides(reading: Reading, overrides: ModelOverrides, origin: str) -> Reading:
    """Traits as a person states them; `origin` says where, for the evidence."""
    stated: dict[str, object] = {}
    evidence: list[str] = []
    if overrides.prediction_type is not None:
        stated["prediction_type"] = overrides.prediction_type
        evidence.append(f"prediction type {overrides.prediction_type}: {origin} says so")
    if overrides.zero_snr is not None:
        stated["zero_snr"] = overrides.zero_snr
        evidence.append(f"zero terminal SNR {'on' if overrides.zero_snr else 'off'}: {origin} says so")
    if overrides.few_step is not None:
        stated["few_step"] = _stated_few_step(overrides)
        evidence.append(f"few-step {overrides.few_step or 'off'}: {origin} says so")
    if not stated:
        return reading
    return Reading(traits=msgspec.structs.replace(reading.traits, **stated), evidence=(*evidence, *reading.evidence))


def few_step_from_words(metadata: Mapping[str, str], name: str) -> tuple[FewStep | None, str]:
    """Whether a model is distilled to few steps, by its metadata, then by its name."""
    title = " ".join(metadata.get(key, "") for key in ("modelspec.title", "modelspec.architecture", "modelspec.tags"))
    for text, origin in ((title, "its modelspec metadata"), (name, "its name")):
        for pattern, kind, steps in _FEW_STEP_WORDS:
            if re.search(pattern, text.lower()):
                counted = _STEPS_IN_NAME.search(text.lower())
                steps = max(1, int(counted[1])) if counted else steps
                return FewStep(
                    kind=kind, steps=steps
                ), f"few-step ({kind}, {steps} steps): {origin} says {text.strip()!r}"
    return None, "not few-step: neither metadata nor name say turbo, lightning, hyper, lcm or dmd2"


def _stated_few_step(overrides: ModelOverrides) -> FewStep | None:
    if not overrides.few_step:
        return None
    usual = next(steps for _, kind, steps in _FEW_STEP_WORDS if kind == overrides.few_step)
    return FewStep(kind=overrides.few_step, steps=overrides.num_inference_steps or usual)


def _refuse_others(shapes: Shapes) -> None:
    """Recognise what people put into a models folder by mistake."""
    for marks, what in _OTHERS:
        if any(any(mark in key for key in shapes) for mark in marks):
            raise NotServable(what)
    has_unet = any(key.startswith(UNET) for key in shapes)
    if not has_unet and any(key.startswith(("encoder.", "decoder.", VAE)) for key in shapes):
        raise NotServable(
            "this is a VAE alone. Use a full SDXL checkpoint; replacing a model's VAE is not supported yet."
        )
    if not has_unet and any(key.startswith(("down_blocks.", "up_blocks.")) for key in shapes):
        raise NotServable(
            "this is a UNet alone, in diffusers' layout. Put the whole diffusers folder into the models folder."
        )
    if not has_unet:
        raise NotServable("this is not a Stable Diffusion checkpoint: it has no tensors named model.diffusion_model.*.")
    if any(key.startswith(_REFINER_TEXT) for key in shapes) and not any(key.startswith(TEXT_2) for key in shapes):
        raise NotServable("this is the SDXL refiner, which only reworks finished images. Use an SDXL base model.")
    convolution = shapes.get(_FIRST_CONVOLUTION, ())
    if len(convolution) == 4 and convolution[1] == 9:
        raise NotServable("this is an inpainting model (its UNet takes 9 channels); only text-to-image is served.")


_OTHERS: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        ("lora_down", "lora_up", "lora_A", "lora_B", "lora_unet_"),
        "this is a LoRA, not a model. It changes a model; it makes no images alone.",
    ),
    (("double_blocks.",), "this is a Flux model; only SDXL models are served."),
    (("joint_blocks.",), "this is a Stable Diffusion 3 model; only SDXL models are served."),
    (("control_model.", "input_hint_block."), "this is a ControlNet, not a model."),
    (
        ("cond_stage_model.transformer.text_model.",),
        "this is a Stable Diffusion 1.x model; only SDXL models are served.",
    ),
    (("cond_stage_model.model.transformer.",), "this is a Stable Diffusion 2.x model; only SDXL models are served."),
)


def _refuse_incomplete(shapes: Shapes) -> None:
    parts = {
        "UNet": _FIRST_CONVOLUTION,
        "text-and-time embedding": f"{UNET}label_emb.0.0.weight",
        "VAE decoder": f"{VAE}decoder.conv_in.weight",
        "first text encoder": f"{TEXT_1}text_model.embeddings.token_embedding.weight",
        "second text encoder": f"{TEXT_2}token_embedding.weight",
    }
    missing = [part for part, key in parts.items() if key not in shapes]
    if missing:
        raise NotServable(
            f"it lacks its {' and its '.join(missing)}. Use a full SDXL checkpoint, with UNet, VAE and both text encoders."
        )


def _refuse_wrong_widths(shapes: Shapes, widths: Widths) -> None:
    wrong = [
        f"{key} has shape {list(shapes[key])} where {wanted} is needed"
        for key, axis, size, wanted in _expected(widths)
        if key in shapes and (len(shapes[key]) <= axis or shapes[key][axis] != size)
    ]
    if wrong:
        raise NotServable(
            f"{'; '.join(wrong)}. If it is a variant of SDXL with other sizes, put its diffusers configs into a folder "
            "<name>.config beside the file."
        )


def _expected(widths: Widths) -> Iterator[tuple[str, int, int, str]]:
    """(tensor, axis, size, the same in words)."""
    first = f"[{widths.unet_channels}, {widths.unet_in_channels}, 3, 3]"
    yield _FIRST_CONVOLUTION, 0, widths.unet_channels, first
    yield _FIRST_CONVOLUTION, 1, widths.unet_in_channels, first
    yield f"{TEXT_1}text_model.embeddings.token_embedding.weight", 1, widths.text_1_width, f"[…, {widths.text_1_width}]"
    yield f"{TEXT_2}token_embedding.weight", 1, widths.text_2_width, f"[…, {widths.text_2_width}]"
    yield f"{VAE}decoder.norm_out.weight", 0, widths.vae_channels, f"[{widths.vae_channels}]"


def _prediction_type(shapes: Shapes, metadata: Mapping[str, str]) -> tuple[PredictionType, str]:
    if "v_pred" in shapes:
        return "v_prediction", "v-prediction: the file holds the key v_pred"
    stated = metadata.get("modelspec.prediction_type", "").lower()
    if stated in ("v", "v_prediction", "v-prediction", "vpred"):
        return "v_prediction", f"v-prediction: modelspec.prediction_type is {stated!r}"
    if stated:
        return "epsilon", f"epsilon prediction: modelspec.prediction_type is {stated!r}"
    return "epsilon", "epsilon prediction: nothing says otherwise (no key v_pred, no modelspec.prediction_type)"


def _zero_snr(shapes: Shapes, metadata: Mapping[str, str]) -> tuple[bool, str]:
    if "ztsnr" in shapes:
        return True, "zero terminal SNR: the file holds the key ztsnr"
    stated = next(
        (metadata[key] for key in ("modelspec.zero_terminal_snr", "ss_zero_terminal_snr") if key in metadata), ""
    )
    if stated.lower() in ("true", "1", "yes"):
        return True, "zero terminal SNR: the metadata says so"
    return False, "no zero terminal SNR: the file does not hold the key ztsnr"
