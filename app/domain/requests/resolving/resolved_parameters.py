"""The parameters of a request as they were used: in answers, and in the receipts that image files carry."""

from collections.abc import Sequence
from typing import Any

import msgspec

from ...models.adapters import AdapterChoice
from ..additions import OWN_VAE
from ..fields import OutputFormat
from ..hires import ResolvedHires, resolved_hires
from ..parameters import RequestedSpacing
from ..pictures.picture import MaskContent, Resize
from ..pictures.source import FromImage, FromLatents, FromNoise, FromPictures, Source
from ..request import GenerationRequest
from ..samplers import SigmaSchedule


class ResolvedParameters(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The parameters as they were used, every default filled in. Posted again, they give the same images."""

    prompt: str
    negative_prompt: str
    prompt_2: str
    negative_prompt_2: str
    num_inference_steps: int
    guidance_scale: float
    guidance_rescale: float
    width: int
    height: int
    original_size: tuple[int, int]
    crop: tuple[int, int]
    target_size: tuple[int, int]
    negative_original_size: tuple[int, int]
    negative_crop: tuple[int, int]
    negative_target_size: tuple[int, int]
    seed: int
    n: int
    sampler: str
    schedule: SigmaSchedule
    discard_penultimate_sigma: bool
    timestep_spacing: RequestedSpacing
    clip_skip: int
    long_prompts: bool
    prompt_weighting: bool
    reproducible: bool
    model_version: str
    output_format: OutputFormat
    output_quality: int | None = None
    """None: the format is PNG, on which it has no effect."""
    hires: ResolvedHires | None = None
    adapters: Sequence[AdapterChoice] | None = None
    """Adapters of the prompt and of the model's sidecar too, which the prompt here does not name any more."""
    vae: str | None = None
    vae_version: str | None = None
    embeddings: dict[str, str] | None = None
    """SHA-256 of the embeddings that the prompts name, by name; None if they name none."""
    strength: float | None = None
    """This and all that follows: only of a request that begins from a picture."""
    resize: Resize | None = None
    image_sha256: str | None = None
    mask_sha256: str | None = None
    mask_invert: bool | None = None
    mask_blur_px: int | None = None
    mask_content: MaskContent | None = None
    mask_padding_px: int | None = None


def resolved_parameters(request: GenerationRequest) -> ResolvedParameters:
    """Express a request in the parameters of a client."""
    return ResolvedParameters(
        prompt=request.prompt,
        negative_prompt=request.negative_prompt,
        prompt_2=request.prompt_2,
        negative_prompt_2=request.negative_prompt_2,
        num_inference_steps=request.num_inference_steps,
        guidance_scale=request.guidance_scale,
        guidance_rescale=request.guidance_rescale,
        width=request.width,
        height=request.height,
        original_size=request.size_conditioning.original_size,
        crop=request.size_conditioning.crop,
        target_size=request.size_conditioning.target_size,
        negative_original_size=request.negative_size_conditioning.original_size,
        negative_crop=request.negative_size_conditioning.crop,
        negative_target_size=request.negative_size_conditioning.target_size,
        seed=request.seeds[0],
        n=len(request.seeds),
        sampler=str(request.sampler),
        schedule=request.sampler.schedule,
        discard_penultimate_sigma=request.sampler.discard_penultimate,
        timestep_spacing=request.timestep_spacing or "model",
        clip_skip=request.clip_skip,
        long_prompts=request.long_prompts,
        prompt_weighting=request.prompt_weighting,
        reproducible=request.reproducible,
        model_version=request.model_version,
        output_format=request.output_format,
        output_quality=None if request.output_format == "png" else request.output_quality,
        hires=None if request.hires is None else resolved_hires(request.hires),
        adapters=adapter_choices(request) or None,
        **_of_vae(request),
        embeddings={use.name: use.sha256 for use in request.embeddings} or None,
        **_of_pictures(request.source),
    )


def adapter_choices(request: GenerationRequest) -> tuple[AdapterChoice, ...]:
    """Express the adapters of a request as a client would name them, those that it turns off included."""
    uses = request.assets.adapters
    return (
        *(
            AdapterChoice(
                name=use.name,
                weight=use.weight,
                text_weight=None if use.text_weight == use.weight else use.text_weight,
                version=use.version,
            )
            for use in uses
        ),
        *request.unused_adapters,
    )


def _of_vae(request: GenerationRequest) -> dict[str, str]:
    vae = request.assets.vae
    if vae is not None:
        return {"vae": vae.name, "vae_version": vae.version}
    return {"vae": OWN_VAE} if request.own_vae else {}


def _of_pictures(source: Source) -> dict[str, Any]:
    if isinstance(source, (FromNoise, FromPictures, FromLatents)):
        return {}
    facts = {"strength": source.strength, "resize": source.resize, "image_sha256": source.image_sha256}
    if isinstance(source, FromImage):
        return facts
    return {
        **facts,
        "mask_sha256": source.mask_sha256,
        "mask_invert": source.mask_invert,
        "mask_blur_px": source.mask_blur_px,
        "mask_content": source.mask_content,
        "mask_padding_px": source.mask_padding_px,
    }
