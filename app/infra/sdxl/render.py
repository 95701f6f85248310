"""One request alone, from prompt to pictures, in one call: for scripts and tests. The engine takes the steps itself."""

import time

from ...domain.requests.rendering import NO_SAVINGS, MemorySavings, OnStep, RenderResult
from ...domain.requests.request import GenerationRequest
from .components import SdxlModel
from .run import SdxlBatchedForward, SdxlRun


def render(
    model: SdxlModel,
    request: GenerationRequest,
    on_step: OnStep,
    memory_savings: MemorySavings = NO_SAVINGS,
    at_once: int = 1,
) -> RenderResult:
    """Make the images of a request; leaves the model as it was, and raises OutOfMemory with the stage.

    With `at_once` 1 each image equals, bit for bit, the same seed asked for alone.
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
        run.finish_images()
        on_step(run.done, run.total)
    return RenderResult(
        images=run.images,
        warnings=run.warnings,
        encode_s=run.encode_s,
        denoise_s=denoise_s,
        decode_s=run.decode_s,
    )
