"""Translates a request of the web UI to the server's parameters. Pure functions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ....domain.errors import FieldError, InvalidRequest
from ....domain.requests.parameters import GenerationParameters
from ..options import Options
from ..samplers import Sampling, sampling
from .hires import hires_of, wrong_hires
from .scripts import ignored_scripts, refused_scripts
from .txt2img_wire import Txt2ImgRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Translation:
    """What to make, and what was left out."""

    parameters: GenerationParameters
    warnings: tuple[str, ...]


def translated(
    asked: Txt2ImgRequest, options: Options, *, clip_skip_base: int, unknown: Sequence[str] = ()
) -> Translation:
    """Translate a request.

    Args:
        asked: the request.
        options: of the client, with those of the request.
        clip_skip_base: number of the layer that the model's prompts are read at, as the web UI counts.
        unknown: names of fields that the web UI does not have either.

    Raises:
        InvalidRequest: with every field without which the picture would be another one.
    """
    if errors := list(_refused(asked)):
        raise InvalidRequest(errors)
    found = sampling(_sampler_name(asked), asked.scheduler)
    parameters = GenerationParameters(
        prompt=asked.prompt,
        negative_prompt=asked.negative_prompt,
        num_inference_steps=asked.steps,
        guidance_scale=asked.cfg_scale,
        width=asked.width,
        height=asked.height,
        seed=asked.seed,
        hires=hires_of(asked),
        n=asked.batch_size * asked.n_iter,
        vae=options.vae,
        sampler=found.sampler,
        schedule=found.schedule,
        discard_penultimate_sigma=found.discard_penultimate or None,
        timestep_spacing=found.timestep_spacing,
        clip_skip=max(0, options.CLIP_stop_at_last_layers - clip_skip_base) or None,
        previews=options.live_previews_enable,
        output_format=options.output_format,
        output_quality=None if options.output_format == "png" else options.jpeg_quality,
    )
    return Translation(parameters=parameters, warnings=tuple(_warnings(asked, found, unknown)))


def _sampler_name(asked: Txt2ImgRequest) -> str:
    older = asked.sampler_index if isinstance(asked.sampler_index, str) else ""
    return asked.sampler_name or older


def _refused(asked: Txt2ImgRequest) -> Iterator[FieldError]:
    for name, is_on in (
        ("tiling", asked.tiling),
        ("restore_faces", asked.restore_faces),
        ("refiner_checkpoint", asked.refiner_checkpoint not in ("", "None")),
        ("infotext", bool(asked.infotext)),
        ("subseed_strength", asked.subseed_strength != 0),
        ("seed_resize_from_h", asked.seed_resize_from_h > 0),
        ("seed_resize_from_w", asked.seed_resize_from_w > 0),
    ):
        if is_on:
            yield FieldError(field=name, message="does not exist here, and the picture would be another one without it")
    if styles := [style for style in asked.styles if style not in ("", "None")]:
        message = f"there are no styles here, got {len(styles)}. Write their words into the prompt"
        yield FieldError(field="styles", message=message)
    yield from wrong_hires(asked)
    yield from refused_scripts(asked.alwayson_scripts)


def _warnings(asked: Txt2ImgRequest, found: Sampling, unknown: Sequence[str]) -> Iterator[str]:
    yield from found.warnings
    yield from ignored_scripts(asked.alwayson_scripts)
    if asked.script_name not in ("", "None"):
        yield "script_name was ignored: scripts do not exist here."
    if asked.save_images:
        yield "save_images was ignored: this server stores no images."
    if asked.eta is not None and asked.eta != 1:  # clients that have no eta send 1
        yield f"eta {asked.eta:g} was ignored: it is 1 for ancestral samplers and 0 for DDIM."
    if asked.s_churn or asked.s_min_uncond or asked.s_noise != 1:
        yield "s_churn, s_noise and s_min_uncond were ignored: no sampler here has them."
    if unknown:
        yield f"Unknown fields were ignored: {', '.join(unknown)}."
