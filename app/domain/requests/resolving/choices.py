"""Chooses each parameter of a request: the client's, else the model's own, else that of its family and traits."""

from dataclasses import replace
from typing import TypeVar

from ...families.family import Defaults
from ...families.registry import family_named
from ...models.spec import ModelSpec, TimestepSpacing
from ..hires import Hires, target_size
from ..parameters import GenerationParameters, Limits
from ..pictures.from_pictures import size_for
from ..pictures.picture import Uploads
from ..samplers import SamplerChoice, parse_sampler, with_schedule

_T = TypeVar("_T")


def first(*values: _T | None) -> _T:
    """Return the first value that is not None; the last one must not be."""
    found = next((value for value in values if value is not None), None)
    assert found is not None
    return found


def defaults_of(spec: ModelSpec) -> Defaults:
    """Return the defaults of a model by its traits."""
    return family_named(spec.traits.family).defaults(spec.traits)


def steps_of(parameters: GenerationParameters, spec: ModelSpec) -> int:
    """Choose the number of steps."""
    return first(parameters.num_inference_steps, spec.overrides.num_inference_steps, defaults_of(spec).steps)


def sampler_name(parameters: GenerationParameters, spec: ModelSpec) -> str:
    """Choose the sampler, by the name that was stated for it."""
    return first(parameters.sampler, spec.overrides.sampler, defaults_of(spec).sampler)


def sampler_of(parameters: GenerationParameters, spec: ModelSpec) -> SamplerChoice:
    """Choose the sampler and its schedule."""
    choice = parse_sampler(sampler_name(parameters, spec))
    chosen = choice if parameters.schedule is None else with_schedule(choice, parameters.schedule)
    return replace(chosen, discard_penultimate=bool(parameters.discard_penultimate_sigma))


def spacing_of(parameters: GenerationParameters, spec: ModelSpec) -> TimestepSpacing | None:
    """Choose the spacing of timesteps; None for the model's own."""
    if parameters.timestep_spacing is not None:
        return None if parameters.timestep_spacing == "model" else parameters.timestep_spacing
    return spec.overrides.timestep_spacing or defaults_of(spec).timestep_spacing


def size_of(parameters: GenerationParameters, spec: ModelSpec, limits: Limits, uploads: Uploads) -> tuple[int, int]:
    """Choose width and height: those of the picture, if there is one, else those of the model."""
    if uploads.image is not None:
        multiple = family_named(spec.traits.family).size_multiple_px
        own = size_for(uploads.image, limits, multiple)
        return first(parameters.width, own[0]), first(parameters.height, own[1])
    side = spec.traits.size_px
    return (
        first(parameters.width, spec.overrides.width, side),
        first(parameters.height, spec.overrides.height, side),
    )


def second_size(hires: Hires, spec: ModelSpec, first_size: tuple[int, int]) -> tuple[int, int]:
    """Choose width and height of the second pass."""
    return target_size(hires, *first_size, family_named(spec.traits.family).size_multiple_px)
