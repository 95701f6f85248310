"""One request alone, from prompt to pictures, in one call; in a server the engine takes the steps."""

import time

from litestar_diffusion.domain.requests.rendering import NO_SAVINGS, MemorySavings, OnStep, RenderResult
from litestar_diffusion.domain.requests.request import GenerationRequest
from litestar_diffusion.infra.sdxl.loading.components import SdxlModel
from litestar_diffusion.infra.sdxl.run import SdxlBatchedForward, SdxlRun


def render(
    model: SdxlModel,
    request: GenerationRequest,
    on_step: OnStep,
    memory_savings: MemorySavings = NO_SAVINGS,
    at_once: int = 1,
) -> RenderResult:
    """Make the images of a request; with `at_once` 1 each equals, bit for bit, the image of its seed alone.

    Raises:
        OutOfMemory: with the stage; the model stays as it was.
    """
    run, batched_forward = SdxlRun(model, request, memory_savings, at_once), SdxlBatchedForward()
    on_step(0, run.total)
    denoise_s = 0.0
    while not run.finished:
        begun = time.perf_counter()
        failed = batched_forward.step([run])
        denoise_s += time.perf_counter() - begun
        for error in failed.values():
            raise error
        while run.decoding:
            run.decode_next()
        on_step(run.done, run.total)
    return RenderResult(
        images=run.images,
        warnings=run.warnings,
        encode_s=run.encode_s,
        denoise_s=denoise_s,
        decode_s=run.decode_s,
    )
