"""The JSON text in `info` of an answer. Pure functions."""

from collections.abc import Sequence
from datetime import UTC, datetime

from ....domain.generator import Generated
from ....domain.requests.metadata.image_metadata import lora_hashes, parameters_text, schedule_label, tagged_prompt
from ....domain.requests.samplers import spec_of
from ....version import VERSION
from .txt2img_wire import GenerationInfo, Txt2ImgRequest


def generation_info(
    asked: Txt2ImgRequest,
    generated: Generated,
    warnings: Sequence[str],
    clip_skip_base: int,
    now: datetime | None = None,
) -> GenerationInfo:
    """Describe finished images.

    Args:
        asked: the request.
        generated: what came of it.
        warnings: of this dialect; those of the generation are added.
        clip_skip_base: number of the layer that prompts are read at without clip_skip, as the web UI counts.
        now: the end of the request.
    """
    request, images = generated.request, generated.images
    prompt, vae = tagged_prompt(request), request.assets.vae
    return GenerationInfo(
        prompt=prompt,
        all_prompts=[prompt] * len(images),
        negative_prompt=request.negative_prompt,
        all_negative_prompts=[request.negative_prompt] * len(images),
        seed=request.seeds[0],
        all_seeds=list(request.seeds),
        subseed=-1,
        all_subseeds=[-1] * len(images),
        subseed_strength=0.0,
        width=request.width,
        height=request.height,
        sampler_name=spec_of(request.sampler).label,
        cfg_scale=request.guidance_scale,
        steps=request.num_inference_steps,
        batch_size=asked.batch_size,
        restore_faces=False,
        face_restoration_model=None,
        sd_model_name=request.model,
        sd_model_hash="",
        sd_vae_name=None if vae is None else vae.name,
        sd_vae_hash=None,
        seed_resize_from_w=0,
        seed_resize_from_h=0,
        denoising_strength=None if request.hires is None else request.hires.strength,
        extra_generation_params={"Schedule type": schedule_label(request.sampler.schedule), **lora_hashes(request)},
        index_of_first_image=0,
        infotexts=[parameters_text(request, image.seed, clip_skip_base) for image in images],
        styles=[],
        job_timestamp=f"{now or datetime.now(UTC):%Y%m%d%H%M%S}",
        clip_skip=request.clip_skip + clip_skip_base if request.clip_skip else 1,
        is_using_inpainting_conditioning=False,
        version=f"litestar-diffusion {VERSION}",
        interrupted=any(image.unfinished for image in images),
        warnings=[*warnings, *generated.warnings],
    )
