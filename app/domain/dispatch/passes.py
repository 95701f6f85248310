"""Makes the stages of a request: its passes, and the enlargement between them."""

from dataclasses import replace

from ..requests.passes import first_pass, second_pass
from ..requests.pictures.image_reader import ImageReader
from ..requests.render_request import RenderRequest
from ..requests.rendering import RenderResult
from ..requests.request import GenerationRequest
from ..requests.upscaling.upscale_request import UpscaleRequest
from .stage import Complete, Stage


def stages_of(request: GenerationRequest, reader: ImageReader) -> tuple[Stage, ...]:
    """Make the stages of a request.

    Args:
        request: with every choice made; its pictures as they were sent.
        reader: decodes pictures, and resizes them between two stages, in worker threads.
    """
    if request.hires is None:
        return (Stage(outline=request, complete=_preparing(request, reader)),)
    network = request.hires.network
    between = () if network is None else (Stage(outline=network, complete=_enlarging(network, reader)),)
    last = Stage(outline=second_pass(request), complete=_refining(request, reader))
    return (Stage.of(first_pass(request)), *between, last)


def _preparing(request: GenerationRequest, reader: ImageReader) -> Complete:
    async def complete(_before: RenderResult | None) -> RenderRequest:
        return await reader.prepare(request)

    return complete


def _enlarging(network: UpscaleRequest, reader: ImageReader) -> Complete:
    async def complete(before: RenderResult | None) -> RenderRequest:
        assert before is not None
        pictures = await reader.resized(before.images, network.width, network.height, "crop")
        return replace(network, pictures=pictures, count=len(pictures))

    return complete


def _refining(request: GenerationRequest, reader: ImageReader) -> Complete:
    async def complete(before: RenderResult | None) -> RenderRequest:
        hires = request.hires
        assert before is not None
        assert hires is not None
        if hires.latent:
            return second_pass(request, before.latents)
        return second_pass(request, await reader.resized(before.images, hires.width, hires.height, "crop"))

    return complete
