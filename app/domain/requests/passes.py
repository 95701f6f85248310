"""The passes of a request: one, or two with an enlargement between them."""

from dataclasses import replace

from .pictures.picture import Picture
from .pictures.source import FromLatents, FromPictures, Latents
from .render_request import RenderRequest
from .request import GenerationRequest, SizeConditioning


def first_pass(request: GenerationRequest) -> GenerationRequest:
    """Return the request of the first pass, which is the request itself if there is no second one."""
    if request.hires is None:
        return request
    return replace(request, hires=None, becomes="latents" if request.hires.latent else "pictures")


def second_pass(
    request: GenerationRequest, before: tuple[Picture, ...] | tuple[Latents, ...] = ()
) -> GenerationRequest:
    """Return the request of the second pass: image to image with the same prompts and seeds.

    Args:
        request: with a second pass.
        before: what the first pass made, enlarged if it is pictures; nothing for a plan.
    """
    hires = request.hires
    assert hires is not None
    latents = tuple(each for each in before if isinstance(each, Latents))
    pictures = tuple(each for each in before if isinstance(each, Picture))
    if hires.latent:
        source = FromLatents(
            latents=latents, size=(hires.width, hires.height), strength=hires.strength, upscaler=hires.upscaler
        )
    else:
        source = FromPictures(pictures=pictures, strength=hires.strength)
    size, first = (hires.height, hires.width), (request.height, request.width)
    # An interrupted first pass may have made fewer images than there are seeds.
    seeds = request.seeds[: len(before)] if before else request.seeds
    return replace(
        request,
        hires=None,
        seeds=seeds,
        source=source,
        width=hires.width,
        height=hires.height,
        size_conditioning=_enlarged(request.size_conditioning, first, size),
        negative_size_conditioning=_enlarged(request.negative_size_conditioning, first, size),
        num_inference_steps=hires.schedule_steps,
        steps_before=request.denoising_steps,
        sampler=hires.sampler,
    )


def denoising_passes(request: GenerationRequest) -> tuple[GenerationRequest, ...]:
    """List the requests of all passes, in order, without what enlarges between them."""
    return (request,) if request.hires is None else (first_pass(request), second_pass(request))


def outlines(request: GenerationRequest) -> tuple[RenderRequest, ...]:
    """List what runs on the device for a request, in order, as far as it is known in advance."""
    hires = request.hires
    if hires is None:
        return (request,)
    between = () if hires.network is None else (hires.network,)
    return (first_pass(request), *between, second_pass(request))


def _enlarged(sizes: SizeConditioning, first: tuple[int, int], size: tuple[int, int]) -> SizeConditioning:
    """Replace the sizes that are those of the first pass, so that they follow the image."""
    return replace(
        sizes,
        original_size=size if sizes.original_size == first else sizes.original_size,
        target_size=size if sizes.target_size == first else sizes.target_size,
    )
