"""Finds the fields of a request that break a limit."""

from collections.abc import Iterator

from ...errors import FieldError
from ...families.family import Family
from ...families.registry import family_named
from ...models.spec import ModelSpec
from ...shown import cut
from ..additions import addition_errors
from ..hires import hires_errors, hires_sampler_errors
from ..parameters import MAX_SEED, GenerationParameters, Limits
from ..pictures.picture import NO_UPLOADS, Uploads
from ..samplers import NEEDS_SCHEDULE, SamplerChoice, UnknownSampler, parse_sampler, with_schedule
from .choices import sampler_name, sampler_of, second_size, size_of, steps_of
from .format_limits import format_errors

_Stated = tuple[int, int, int]
"""Steps, width and height that are checked; 0 for a default that is not known yet."""


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
    yield from format_errors(parameters.output_format, *_final_size(parameters, spec, uploads, (width, height)))
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


def _stated(parameters: GenerationParameters, spec: ModelSpec, limits: Limits, uploads: Uploads) -> _Stated:
    steps, (width, height) = steps_of(parameters, spec), size_of(parameters, spec, limits, uploads)
    if spec.on_disk:
        return steps, width, height
    overrides = spec.overrides
    return (
        parameters.num_inference_steps or overrides.num_inference_steps or 0,
        parameters.width or overrides.width or 0,
        parameters.height or overrides.height or 0,
    )


def _final_size(
    parameters: GenerationParameters, spec: ModelSpec, uploads: Uploads, size: tuple[int, int]
) -> tuple[int, int]:
    """Return the width and height of the image files; 0 for a default that is not known yet."""
    if uploads.image is not None and uploads.mask is not None and parameters.mask_padding_px is not None:
        return uploads.image.width, uploads.image.height
    return size if parameters.hires is None or not all(size) else second_size(parameters.hires, spec, size)


def _hires_errors(
    parameters: GenerationParameters, spec: ModelSpec, limits: Limits, stated: _Stated
) -> Iterator[FieldError]:
    hires, (steps, *first_size) = parameters.hires, stated
    if hires is None:
        return
    if parameters.image is not None:
        message = "is for images from text alone; send image at the size that you want, with strength"
        yield FieldError(field="hires", message=message)
    yield from hires_sampler_errors(hires, _sampler_of_first(parameters, spec))
    if not all(stated):
        return  # the model's defaults are not known yet
    size = second_size(hires, spec, (first_size[0], first_size[1]))
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


def _sampler_of_first(parameters: GenerationParameters, spec: ModelSpec) -> SamplerChoice | None:
    try:
        return sampler_of(parameters, spec)
    except UnknownSampler:
        return None  # `_sampler_errors` tells that


def _side_errors(name: str, side_px: int, family: Family, limits: Limits) -> Iterator[FieldError]:
    multiple = family.size_multiple_px
    if side_px % multiple:
        yield FieldError(
            field=name,
            message=f"{family.title} sizes are multiples of {multiple}: {side_px} is not; "
            f"{_nearest(side_px, multiple, limits)}",
        )
    elif not limits.min_side_px <= side_px <= limits.max_side_px:
        yield FieldError(
            field=name, message=f"must be from {limits.min_side_px} to {limits.max_side_px} pixels, got {side_px}"
        )


def _nearest(side_px: int, multiple: int, limits: Limits) -> str:
    """Name the multiples next to a side, within the limits."""
    least, most = -(-limits.min_side_px // multiple) * multiple, limits.max_side_px // multiple * multiple
    below = side_px // multiple * multiple
    sides = sorted({min(max(side, least), most) for side in (below, below + multiple)})
    return f"the nearest {'are' if len(sides) > 1 else 'is'} {' and '.join(map(str, sides))}"


def _sampler_errors(parameters: GenerationParameters, spec: ModelSpec) -> Iterator[FieldError]:
    try:
        choice = parse_sampler(sampler_name(parameters, spec))
    except UnknownSampler as error:
        yield FieldError(field="sampler", message=str(error))
        return
    if parameters.discard_penultimate_sigma and (parameters.schedule or choice.schedule) == "model":
        yield FieldError(field="discard_penultimate_sigma", message=NEEDS_SCHEDULE)
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
