"""One request alone, from prompt to pictures, in one call: for scripts and tests. The engine takes the steps itself."""

import time

from ...domain.requests.rendering import LAVISH, Frugality, OnStep, Rendered
from ...domain.requests.request import GenerationRequest
from .components import SdxlModel
from .run import SdxlForwards, SdxlRun


def render(
    model: SdxlModel, request: GenerationRequest, on_step: OnStep, frugality: Frugality = LAVISH, at_once: int = 1
) -> Rendered:
    """Make the images of a request; leaves the model as it was, and raises OutOfMemory with the stage.

    With `at_once` 1 each image equals, bit for bit, the same seed asked for alone.
    """
    run, forwards = SdxlRun(model, request, frugality, at_once), SdxlForwards()
    on_step(0, run.total)
    denoise_s = 0.0
    while not run.finished:
        begun = time.perf_counter()
        failed = forwards.step([run])
        denoise_s += time.perf_counter() - begun
        for error in failed.values():
            raise error
        run.settle()
        on_step(run.done, run.total)
    return Rendered(
        images=run.images,
        warnings=run.warnings,
        encode_s=run.encode_s,
        denoise_s=denoise_s,
        decode_s=run.decode_s,
    )
