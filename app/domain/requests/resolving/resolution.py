"""Resolves optional parameters to one `GenerationRequest` in which nothing is optional."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ...errors import InvalidRequest
from ...models.assets import AssetSet
from ...models.embeddings import EmbeddingUse
from ...models.spec import ModelSpec
from ..additions import NO_ADDITIONS, Added, Additions, added_to
from ..fields import DEFAULT_QUALITY
from ..hires import SecondPass, hires_warnings, second_pass
from ..parameters import GenerationParameters, Limits
from ..pictures.from_pictures import picture_errors, picture_warnings, source_of, too_few_steps
from ..pictures.picture import NO_UPLOADS, Uploads
from ..prompts.adapter_tags import read_tags
from ..prompts.conditioning_limits import all_texts, embedding_warnings, prompt_errors, prompt_warnings
from ..prompts.embedding_words import named_in
from ..request import GenerationRequest, Resolved, SizeConditioning
from .broken_limits import broken_limits
from .choices import defaults_of, first, sampler_of, second_size, size_of, spacing_of, steps_of
from .unsuitable import unsuitable


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
    added = added_to(parameters, spec, additions)
    seed = random_seed if parameters.seed in (None, -1) else parameters.seed
    request = _request(parameters, spec, limits, uploads, additions, added, first(seed))
    if too_few := too_few_steps(request):
        raise InvalidRequest([too_few])
    if errors := list(prompt_errors(request, limits)):
        raise InvalidRequest(errors)
    request = replace(request, embeddings=named_in(all_texts(request), embeddings))
    return Resolved(request=request, warnings=tuple(_warnings(parameters, spec, request, uploads, added)))


def _request(
    parameters: GenerationParameters,
    spec: ModelSpec,
    limits: Limits,
    uploads: Uploads,
    additions: Additions,
    added: Added,
    seed: int,
) -> GenerationRequest:
    stated, usual = spec.overrides, defaults_of(spec)
    width, height = size_of(parameters, spec, limits, uploads)
    sizes = _size_conditioning(parameters, height, width)
    prompt, prompt_2 = (read_tags(first(text, parameters.prompt)).text for text in (None, parameters.prompt_2))
    negative_prompt = first(parameters.negative_prompt, stated.negative_prompt, "")
    return GenerationRequest(
        assets=AssetSet(spec.name, added.adapters, added.vae, spec.base),
        unused_adapters=added.unused,
        own_vae=added.own_vae,
        source=source_of(parameters, uploads),
        prompt=prompt,
        prompt_2=prompt_2,
        negative_prompt=negative_prompt,
        negative_prompt_2=first(parameters.negative_prompt_2, negative_prompt),
        num_inference_steps=steps_of(parameters, spec),
        guidance_scale=first(parameters.guidance_scale, stated.guidance_scale, usual.guidance_scale),
        guidance_rescale=first(parameters.guidance_rescale, stated.guidance_rescale, 0.0),
        width=width,
        height=height,
        size_conditioning=sizes,
        negative_size_conditioning=_negative_size_conditioning(parameters, sizes),
        seeds=tuple(seed + index for index in range(parameters.n)),
        sampler=sampler_of(parameters, spec),
        timestep_spacing=spacing_of(parameters, spec),
        clip_skip=first(parameters.clip_skip, stated.clip_skip, 0),
        model_version=spec.version,
        reproducible=first(parameters.reproducible, limits.reproducible),
        long_prompts=first(parameters.long_prompts, limits.long_prompts),
        prompt_weighting=first(parameters.prompt_weighting, limits.prompt_weighting),
        output_format=parameters.output_format,
        output_quality=first(parameters.output_quality, DEFAULT_QUALITY[parameters.output_format]),
        hires=_second_pass(parameters, spec, (width, height), additions.upscaler),
    )


def _warnings(
    parameters: GenerationParameters, spec: ModelSpec, request: GenerationRequest, uploads: Uploads, added: Added
) -> Iterator[str]:
    yield from spec.doubts
    yield from added.warnings
    yield from unsuitable(parameters, request, spec.traits)
    yield from prompt_warnings(request)
    yield from embedding_warnings(parameters, request)
    yield from picture_warnings(parameters, request, uploads)
    if request.hires is not None and parameters.hires is not None:
        yield from hires_warnings(parameters.hires, request.hires)


def _second_pass(
    parameters: GenerationParameters, spec: ModelSpec, first_size: tuple[int, int], upscaler: ModelSpec | None
) -> SecondPass | None:
    if parameters.hires is None:
        return None
    return second_pass(
        parameters.hires,
        size=second_size(parameters.hires, spec, first_size),
        first_size=first_size,
        first_steps=steps_of(parameters, spec),
        count=parameters.n,
        sampler=sampler_of(parameters, spec),
        upscaler=upscaler,
    )


def _size_conditioning(parameters: GenerationParameters, height: int, width: int) -> SizeConditioning:
    return SizeConditioning(
        original_size=first(parameters.original_size, (height, width)),
        crop=first(parameters.crop, (0, 0)),
        target_size=first(parameters.target_size, (height, width)),
    )


def _negative_size_conditioning(parameters: GenerationParameters, positive: SizeConditioning) -> SizeConditioning:
    return SizeConditioning(
        original_size=first(parameters.negative_original_size, positive.original_size),
        crop=first(parameters.negative_crop, positive.crop),
        target_size=first(parameters.negative_target_size, positive.target_size),
    )
