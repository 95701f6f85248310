"""One request through the three phases: encode, denoise, decode."""

import time

import torch

from ...domain.generation import GenerationRequest
from ...domain.ports import OnStep, RawImage, Rendered
from .components import SdxlModel
from .decode import decode
from .denoise import denoise
from .text import encode


@torch.inference_mode()
def render(model: SdxlModel, request: GenerationRequest, on_step: OnStep) -> Rendered:
    """Make the images of a request. Engine thread only; leaves the model as it was.

    Images are made one after the other, so that each equals, bit for bit, the same seed asked for alone.
    """
    begun = time.perf_counter()
    conditioning = encode(model, request)
    encode_s = time.perf_counter() - begun
    denoise_s = decode_s = 0.0
    images: list[RawImage] = []
    warnings = list(conditioning.warnings)
    for index, seed in enumerate(request.seeds):

        def on_image_step(done: int, total: int, index: int = index) -> None:
            on_step(index * total + done, len(request.seeds) * total)

        begun = time.perf_counter()
        latents = denoise(model, request, conditioning, seed, on_image_step)
        denoised = time.perf_counter()
        image, warning = decode(model, latents)
        images.append(image)
        if warning is not None and warning not in warnings:
            warnings.append(warning)
        denoise_s += denoised - begun
        decode_s += time.perf_counter() - denoised
    return Rendered(
        images=tuple(images), warnings=tuple(warnings), encode_s=encode_s, denoise_s=denoise_s, decode_s=decode_s
    )
