"""Resolves optional parameters to one `GenerationRequest` in which nothing is optional."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from ..errors import FieldError, InvalidRequest
from ..families.family import Defaults, Family
from ..families.registry import family_named
from ..models.assets import AssetSet
from ..models.embeddings import EmbeddingUse
from ..models.spec import ModelSpec, ModelTraits, TimestepSpacing
from ..shown import cut
from .adapter_tags import read_tags
from .additions import NO_ADDITIONS, Additions, added_to, addition_errors
from .conditioning_limits import all_texts, embedding_warnings, prompt_errors, prompt_warnings
from .embedding_words import named_in
from .from_pictures import picture_errors, picture_warnings, size_for, source_of, too_few_steps
from .hires import Hires, SecondPass, hires_errors, hires_warnings, second_pass, target_size
from .parameters import DEFAULT_QUALITY, MAX_SEED, GenerationParameters, Limits
from .pictures import NO_UPLOADS, Uploads
from .request import GenerationRequest, Resolved, SizeConditioning
from .samplers import SamplerChoice, UnknownSampler, parse_sampler, spec_of, with_schedule, zero_snr_samplers

_T = TypeVar("_T")


def resolve(
    parameters: GenerationParameters,
    spec: ModelSpec,
    limits: Limits,
    *,
    random_seed: int,
    uploads: Uploads = NO_UPLOADS,
    additions: Additions = NO_ADDITIONS,
    embeddings: Sequence[EmbeddingUse] = (),
) -> Resolved:
    """Fill every parameter from, in this order, the client, the model's defaults, the model's traits.

    Args:
        parameters: as the client sent them.
        spec: the catalogue entry.
        limits: bounds on a single request, and how prompts are read by default.
        random_seed: used if the client gives none; passed in so that this function stays pure.
        uploads: the pictures of `parameters`, decoded.
        additions: catalogue entries of the adapters and the VAE that `parameters` and `spec` name.
        embeddings: those that prompts may name.

    Raises:
        InvalidRequest: with every field that breaks a limit.
    """
    if errors := [*broken_limits(parameters, spec, limits, uploads), *picture_errors(parameters)]:
        raise InvalidRequest(errors)
    stated, usual = spec.overrides, _defaults(spec)
    width, height = _size(parameters, spec, limits, uploads)
    sizes = _size_conditioning(parameters, height, width)
    base_seed = random_seed if parameters.seed in (None, -1) else parameters.seed
    assert base_seed is not None
    added = added_to(parameters, spec, additions)
    prompt, prompt_2 = (read_tags(_first(text, parameters.prompt)).text for text in (None, parameters.prompt_2))
    negative_prompt = _first(parameters.negative_prompt, stated.negative_prompt, "")
    request = GenerationRequest(
        assets=AssetSet(spec.name, added.adapters, added.vae),
        unused_adapters=added.unused,
        source=source_of(parameters, uploads),
        prompt=prompt,
        prompt_2=prompt_2,
        negative_prompt=negative_prompt,
        negative_prompt_2=_first(parameters.negative_prompt_2, negative_prompt),
        num_inference_steps=_steps(parameters, spec),
        guidance_scale=_first(parameters.guidance_scale, stated.guidance_scale, usual.guidance_scale),
        guidance_rescale=_first(parameters.guidance_rescale, stated.guidance_rescale, 0.0),
        width=width,
        height=height,
        size_conditioning=sizes,
        negative_size_conditioning=_negative_size_conditioning(parameters, sizes),
        seeds=tuple(base_seed + index for index in range(parameters.n)),
        sampler=_sampler(parameters, spec),
        timestep_spacing=_spacing(parameters, spec),
        clip_skip=_first(parameters.clip_skip, stated.clip_skip, 0),
        model_version=spec.version,
        reproducible=_first(parameters.reproducible, limits.reproducible),
        long_prompts=_first(parameters.long_prompts, limits.long_prompts),
        prompt_weighting=_first(parameters.prompt_weighting, limits.prompt_weighting),
        output_format=parameters.output_format,
        output_quality=_first(parameters.output_quality, DEFAULT_QUALITY[parameters.output_format]),
        hires=_second_pass(parameters, spec, (width, height), additions.upscaler),
    )
    if too_few := too_few_steps(request):
        raise InvalidRequest([too_few])
    if errors := list(prompt_errors(request, limits)):
        raise InvalidRequest(errors)
    request = replace(request, embeddings=named_in(all_texts(request), embeddings))
    return Resolved(
        request=request,
        warnings=(
            *spec.doubts,
            *added.warnings,
            *_warnings(parameters, request, spec.traits),
            *prompt_warnings(request),
            *embedding_warnings(parameters, request),
            *picture_warnings(parameters, request, uploads),
            *(
                []
                if request.hires is None or parameters.hires is None
                else hires_warnings(parameters.hires, request.hires)
            ),
        ),
    )


def broken_limits(
    parameters: GenerationParameters, spec: ModelSpec, limits: Limits, uploads: Uploads = NO_UPLOADS
) -> list[FieldError]:
    """Find every field that breaks a limit or names an unknown sampler.

    Before the files of the model are on disk, its defaults are a guess: then only what the client and the settings state is
    checked.
    """
    return [
        *_limit_errors(parameters, spec, limits, uploads),
        *_sampler_errors(parameters, spec),
        *addition_errors(parameters, spec, limits),
    ]


_Stated = tuple[int, int, int]
"""Steps, width and height that are checked; 0 for a default that is not known yet."""


def _stated(parameters: GenerationParameters, spec: ModelSpec, limits: Limits, uploads: Uploads) -> _Stated:
    steps, (width, height) = _steps(parameters, spec), _size(parameters, spec, limits, uploads)
    if spec.on_disk:
        return steps, width, height
    overrides = spec.overrides
    return (
        parameters.num_inference_steps or overrides.num_inference_steps or 0,
        parameters.width or overrides.width or 0,
        parameters.height or overrides.height or 0,
    )


def _first(*values: _T | None) -> _T:
    """Return the first value that is not None; the last one must not be."""
    found = next((value for value in values if value is not None), None)
    assert found is not None
    return found


def _defaults(spec: ModelSpec) -> Defaults:
    return family_named(spec.traits.family).defaults(spec.traits)


def _steps(parameters: GenerationParameters, spec: ModelSpec) -> int:
    return _first(parameters.num_inference_steps, spec.overrides.num_inference_steps, _defaults(spec).steps)


def _sampler_name(parameters: GenerationParameters, spec: ModelSpec) -> str:
    return _first(parameters.sampler, spec.overrides.sampler, _defaults(spec).sampler)


def _spacing(parameters: GenerationParameters, spec: ModelSpec) -> TimestepSpacing | None:
    if parameters.timestep_spacing is not None:
        return None if parameters.timestep_spacing == "model" else parameters.timestep_spacing
    return spec.overrides.timestep_spacing or _defaults(spec).timestep_spacing


def _size(parameters: GenerationParameters, spec: ModelSpec, limits: Limits, uploads: Uploads) -> tuple[int, int]:
    if uploads.image is not None:
        multiple = family_named(spec.traits.family).size_multiple_px
        own = size_for(uploads.image, limits, multiple)
        return _first(parameters.width, own[0]), _first(parameters.height, own[1])
    side = spec.traits.size_px
    return (
        _first(parameters.width, spec.overrides.width, side),
        _first(parameters.height, spec.overrides.height, side),
    )


def _sampler(parameters: GenerationParameters, spec: ModelSpec) -> SamplerChoice:
    choice = parse_sampler(_sampler_name(parameters, spec))
    chosen = choice if parameters.schedule is None else with_schedule(choice, parameters.schedule)
    return replace(chosen, discard_penultimate=bool(parameters.discard_penultimate_sigma))


def _second_pass(
    parameters: GenerationParameters, spec: ModelSpec, first_size: tuple[int, int], upscaler: ModelSpec | None
) -> SecondPass | None:
    if parameters.hires is None:
        return None
    return second_pass(
        parameters.hires,
        size=_target(parameters.hires, spec, first_size),
        first_size=first_size,
        first_steps=_steps(parameters, spec),
        count=parameters.n,
        sampler=_sampler(parameters, spec),
        upscaler=upscaler,
    )


def _target(hires: Hires, spec: ModelSpec, first_size: tuple[int, int]) -> tuple[int, int]:
    return target_size(hires, *first_size, family_named(spec.traits.family).size_multiple_px)


def _hires_errors(
    parameters: GenerationParameters, spec: ModelSpec, limits: Limits, stated: _Stated
) -> Iterator[FieldError]:
    hires, (steps, *first_size) = parameters.hires, stated
    if hires is None:
        return
    if parameters.image is not None:
        message = "is for images from text alone; send image at the size that you want, with strength"
        yield FieldError(field="hires", message=message)
    if not all(stated):
        return  # the model's defaults are not known yet
    size = _target(hires, spec, (first_size[0], first_size[1]))
    yield from hires_errors(
        hires,
        size=size,
        first_size=(first_size[0], first_size[1]),
        first_steps=steps,
        max_steps=limits.max_steps,
    )
    family = family_named(spec.traits.family)
    for name, side_px in (("width", size[0]), ("height", size[1])):
        field = f"hires.{name}" if getattr(hires, name) is not None else "hires.scale"
        yield from _side_errors(field, side_px, family, limits)
    if (pixels := size[0] * size[1]) > limits.max_pixels:
        yield FieldError(
            field="hires.scale" if hires.width is None else "hires.width",
            message=f"the second pass may have at most {limits.max_pixels} pixels (limits.max_pixels), got {size[0]} x {size[1]} "
            f"= {pixels}",
        )


def _size_conditioning(parameters: GenerationParameters, height: int, width: int) -> SizeConditioning:
    return SizeConditioning(
        original_size=_first(parameters.original_size, (height, width)),
        crop=_first(parameters.crop, (0, 0)),
        target_size=_first(parameters.target_size, (height, width)),
    )


def _negative_size_conditioning(parameters: GenerationParameters, positive: SizeConditioning) -> SizeConditioning:
    return SizeConditioning(
        original_size=_first(parameters.negative_original_size, positive.original_size),
        crop=_first(parameters.negative_crop, positive.crop),
        target_size=_first(parameters.negative_target_size, positive.target_size),
    )


def _sampler_errors(parameters: GenerationParameters, spec: ModelSpec) -> Iterator[FieldError]:
    try:
        choice = parse_sampler(_sampler_name(parameters, spec))
    except UnknownSampler as error:
        yield FieldError(field="sampler", message=str(error))
        return
    if parameters.discard_penultimate_sigma and (parameters.schedule or choice.schedule) == "model":
        message = "needs a schedule other than 'model', such as 'karras': the model's own levels are not a list to discard from"
        yield FieldError(field="discard_penultimate_sigma", message=message)
    if parameters.schedule is None:
        return
    if parameters.sampler is not None and choice.schedule not in ("model", parameters.schedule):
        yield FieldError(
            field="schedule",
            message=f"must be {choice.schedule!r} or absent, because sampler {cut(parameters.sampler)!r} says so, "
            f"got {parameters.schedule!r}",
        )
        return
    try:
        with_schedule(choice, parameters.schedule)
    except UnknownSampler as error:
        yield FieldError(field="schedule", message=str(error))


def _limit_errors(
    parameters: GenerationParameters, spec: ModelSpec, limits: Limits, uploads: Uploads
) -> Iterator[FieldError]:
    for name in ("prompt", "negative_prompt", "prompt_2", "negative_prompt_2"):
        text = getattr(parameters, name)
        if text is not None and len(text) > limits.max_prompt_chars:
            yield FieldError(
                field=name, message=f"must be at most {limits.max_prompt_chars} characters long, got {len(text)}"
            )
    steps, width, height = _stated(parameters, spec, limits, uploads)
    if steps > limits.max_steps:
        yield FieldError(field="num_inference_steps", message=f"must be at most {limits.max_steps}, got {steps}")
    if parameters.n > limits.max_n:
        yield FieldError(field="n", message=f"must be at most {limits.max_n}, got {parameters.n}")
    if parameters.seed is not None and parameters.seed > MAX_SEED - parameters.n + 1:
        seed = cut(str(parameters.seed))
        yield FieldError(
            field="seed", message=f"seed + n must be at most 2**64, because image i uses seed + i; got {seed}"
        )
    yield from _hires_errors(parameters, spec, limits, (steps, width, height))
    family = family_named(spec.traits.family)
    if width:
        yield from _side_errors("width", width, family, limits)
    if height:
        yield from _side_errors("height", height, family, limits)
    if width * height > limits.max_pixels:
        yield FieldError(
            field="width",
            message=f"width times height must be at most {limits.max_pixels} pixels, got {width} x {height} = {width * height}",
        )


def _side_errors(name: str, side_px: int, family: Family, limits: Limits) -> Iterator[FieldError]:
    multiple = family.size_multiple_px
    if side_px % multiple:
        below = max(side_px // multiple * multiple, limits.min_side_px)
        yield FieldError(
            field=name,
            message=f"{family.title} sizes are multiples of {multiple}: {side_px} is not; "
            f"the nearest are {below} and {below + multiple}",
        )
    elif not limits.min_side_px <= side_px <= limits.max_side_px:
        yield FieldError(
            field=name, message=f"must be from {limits.min_side_px} to {limits.max_side_px} pixels, got {side_px}"
        )


def _warnings(parameters: GenerationParameters, request: GenerationRequest, traits: ModelTraits) -> Iterator[str]:
    if not request.guided:
        if parameters.negative_prompt or parameters.negative_prompt_2:
            yield f"negative_prompt has no effect: guidance_scale is {request.guidance_scale:g}, and it acts only above 1."
        if request.guidance_rescale:
            yield f"guidance_rescale has no effect: guidance_scale is {request.guidance_scale:g}, and it acts only above 1."
    elif traits.few_step and request.guidance_scale > 2 * traits.few_step.guidance_scale:
        yield (
            f"This is a {traits.few_step.kind} model, made for guidance_scale {traits.few_step.guidance_scale:g}; "
            f"{request.guidance_scale:g} usually gives burnt colours."
        )
    if parameters.model_version not in (None, request.model_version):
        yield (
            f"The files or settings of model {request.model!r} have changed since model_version "
            f"{parameters.model_version!r}, it is {request.model_version!r} now: the image may differ."
        )
    if parameters.output_quality is not None and request.output_format == "png":
        yield "output_quality has no effect on png, which is lossless."
    sampler = spec_of(request.sampler)
    if traits.zero_snr and not sampler.zero_snr:
        yield (
            f"Sampler {sampler.name!r} cannot do zero terminal SNR, which this model was trained with; expect greyish "
            f"images. These can: {', '.join(zero_snr_samplers())}."
        )
    if traits.prediction_type == "v_prediction" and not sampler.v_prediction:
        yield f"Sampler {sampler.name!r} is inexact for models that predict v, as this one does; expect faded images."
