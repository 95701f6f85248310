"""Metadata of an image file: text that other tools read, and a receipt that can be posted again."""

import functools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata

import msgspec

from ...models.adapters import AdapterChoice
from ..hires import SecondPass
from ..pictures.source import FromMaskedImage, FromNoise
from ..prompts.adapter_tags import tag_of
from ..request import GenerationRequest
from ..resolving.resolved_parameters import resolved_parameters
from ..samplers import SigmaSchedule, spec_of
from ..upscaling.upscale_parameters import ResolvedUpscaling
from ..upscaling.upscalers import UPSCALER_LABELS

PARAMETERS_KEY = "parameters"
"""PNG key under which AUTOMATIC1111's web UI writes its text, and readers of generation data look first."""
RECEIPT_KEY = "litestar-diffusion"
_HASH_CHARS = 12
"""Letters of a hash as the web UI writes it. These are of the file's version, not of its content."""

UPSCALING_KEY = "litestar-diffusion-upscaling"

_SCHEDULE_LABELS: dict[SigmaSchedule, str] = {  # as the web UI spells them
    "model": "Automatic",
    "normal": "Normal",
    "karras": "Karras",
    "exponential": "Exponential",
    "beta": "Beta",
    "sgm_uniform": "SGM Uniform",
    "simple": "Simple",
    "ddim_uniform": "DDIM",
    "align_your_steps": "Align Your Steps",
    "align_your_steps_a1111": "Align Your Steps",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """What an image depends on beside its request."""

    model_version: str
    """Version of the model's files and settings."""
    dtype: str
    """Dtype that it was computed in, as torch names it; empty if it is not known."""
    shared_steps: bool
    """Whether its steps were computed together with other images."""
    memory_savings: tuple[str, ...] = ()
    """Memory fallbacks that were needed."""
    unfinished: bool = False
    """Whether it ended before its last step."""


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """How one image was made. `POST /generate/<model>` with the body `request` makes it again."""

    version: str
    """Version of this package."""
    model: str
    model_version: str
    """Differs if the model's files or settings have changed since; the image may differ then, too."""
    shared_steps: bool
    """Whether denoising steps of the image were computed together with other images. If not, the request makes the same bytes
    again, on the same machine; if so, the same picture up to rounding (PSNR of at least 39 dB; see docs/api.md)."""
    memory_savings: tuple[str, ...]
    """What the request gave up because memory was short: `tiled_decode` changes the image a little, and a replay does not repeat
    it."""
    unfinished: bool
    """Whether the image ended before its last step, because it was interrupted: the request makes the finished one."""
    request: dict[
        str, str | int | float | bool | list[int | dict[str, str | float]] | dict[str, str | int | float | bool]
    ]
    """Every parameter, resolved, for this image alone: `n` is 1 and `seed` is its own."""


class UpscalingReceipt(msgspec.Struct, frozen=True, kw_only=True):
    """How a picture was enlarged. `POST /upscale` with the body `request` and the same `image` makes it again."""

    version: str
    """Version of this package."""
    request: dict[str, str | int]


def image_facts(
    request: GenerationRequest, *, seed: int, provenance: Provenance, clip_skip_base: int
) -> dict[str, str]:
    """Make the texts that the image of a seed carries, by key.

    Args:
        request: that made it.
        seed: of the image.
        provenance: what the image depends on beside the request.
        clip_skip_base: number of the layer that `clip_skip` 0 means, as the web UI counts.
    """
    return {
        PARAMETERS_KEY: parameters_text(request, seed, clip_skip_base),
        RECEIPT_KEY: msgspec.json.encode(receipt(request, seed=seed, provenance=provenance)).decode(),
    }


def receipt(request: GenerationRequest, *, seed: int, provenance: Provenance) -> Receipt:
    """Make the receipt for the image of a seed."""
    version = provenance.model_version
    parameters = msgspec.structs.replace(resolved_parameters(request), seed=seed, n=1, model_version=version)
    body = msgspec.to_builtins(parameters)
    if provenance.dtype:
        body["dtype"] = provenance.dtype
    return Receipt(
        version=_version(),
        model=request.model,
        model_version=version,
        shared_steps=provenance.shared_steps,
        memory_savings=provenance.memory_savings,
        unfinished=provenance.unfinished,
        request=body,
    )


def upscaling_facts(wanted: ResolvedUpscaling, factor: float) -> dict[str, str]:
    """Make the texts that an enlarged picture carries, by key.

    Args:
        wanted: the parameters as they were used.
        factor: of the longer side.
    """
    settings = (
        f"Postprocess upscale by: {factor:g}, Postprocess upscaler: {_plain(wanted.upscaler)}, "
        f"Version: litestar-diffusion {_version()}"
    )
    receipt = UpscalingReceipt(version=_version(), request=msgspec.to_builtins(wanted))
    return {PARAMETERS_KEY: settings, UPSCALING_KEY: msgspec.json.encode(receipt).decode()}


def _plain(value: str) -> str:
    return _quoted(value) if any(letter in value for letter in ',:"\n') else value


def parameters_text(request: GenerationRequest, seed: int, clip_skip_base: int) -> str:
    """Write the prompt, the negative prompt and a line of settings as AUTOMATIC1111's web UI does."""
    lines = [tagged_prompt(request)]
    if request.negative_prompt:
        lines.append(f"Negative prompt: {request.negative_prompt}")
    lines.append(", ".join(f"{name}: {value}" for name, value in _settings(request, seed, clip_skip_base)))
    return "\n".join(lines)


def tagged_prompt(request: GenerationRequest) -> str:
    """Write the prompt with a tag for each adapter, wherever it was named, as the web UI has them in its prompts."""
    tags = [
        tag_of(AdapterChoice(name=use.name, weight=use.weight, text_weight=use.text_weight))
        for use in request.assets.adapters
    ]
    return " ".join(filter(None, (request.prompt, *tags)))


def lora_hashes(request: GenerationRequest) -> dict[str, str]:
    """Return the web UI's setting that names the adapters of a request; nothing without adapters."""
    uses = request.assets.adapters
    return {"Lora hashes": ", ".join(f"{use.name}: {use.version[:_HASH_CHARS]}" for use in uses)} if uses else {}


def schedule_label(schedule: SigmaSchedule) -> str:
    """Return the name of a schedule as the web UI spells it."""
    return _SCHEDULE_LABELS[schedule]


def _settings(request: GenerationRequest, seed: int, clip_skip_base: int) -> Iterator[tuple[str, str]]:
    yield "Steps", str(request.num_inference_steps)
    yield "Sampler", spec_of(request.sampler).label
    yield "Schedule type", schedule_label(request.sampler.schedule)
    if request.sampler.discard_penultimate:
        yield "Discard penultimate sigma", "True"
    yield "CFG scale", f"{request.guidance_scale:g}"
    yield "Seed", str(seed)
    yield "Size", f"{request.width}x{request.height}"
    yield "Model", request.model
    yield "RNG", "CPU"  # noise is drawn on the CPU, on every device
    if not isinstance(request.source, FromNoise):
        yield "Denoising strength", f"{request.source.strength:g}"
    if isinstance(request.source, FromMaskedImage):
        yield "Mask blur", str(request.source.mask_blur_px)
    if request.hires is not None:
        yield from _hires_settings(request, request.hires)
    if request.assets.vae is not None:
        yield "VAE", request.assets.vae.name
        yield "VAE hash", request.assets.vae.version[:_HASH_CHARS]
    yield from ((name, _quoted(value)) for name, value in lora_hashes(request).items())
    if request.clip_skip:
        yield "Clip skip", str(request.clip_skip + clip_skip_base)
    if request.guidance_rescale:
        yield "Guidance rescale", f"{request.guidance_rescale:g}"
    if not request.prompt_weighting:
        yield "Emphasis", "None"
    if request.prompt_2 != request.prompt:
        yield "Prompt 2", _quoted(request.prompt_2)
    if request.negative_prompt_2 != request.negative_prompt:
        yield "Negative prompt 2", _quoted(request.negative_prompt_2)
    yield "Version", f"litestar-diffusion {_version()}"


def _hires_settings(request: GenerationRequest, hires: SecondPass) -> Iterator[tuple[str, str]]:
    yield "Denoising strength", f"{hires.strength:g}"
    if hires.width * request.height == hires.height * request.width:
        yield "Hires upscale", f"{hires.width / request.width:g}"
    else:
        yield "Hires resize", f"{hires.width}x{hires.height}"
    if hires.sampler != request.sampler:
        yield "Hires sampler", spec_of(hires.sampler).label
        yield "Hires schedule type", schedule_label(hires.sampler.schedule)
    yield "Hires steps", str(hires.steps)
    yield "Hires upscaler", _plain(UPSCALER_LABELS.get(hires.upscaler, hires.upscaler))


def _quoted(text: str) -> str:
    """Quote a value as the web UI does for values that hold a comma, a colon or a line break."""
    return json.dumps(text, ensure_ascii=False)


@functools.cache
def _version() -> str:
    return metadata.version("litestar-diffusion")
