"""One request through the three phases: encode, denoise, decode."""

import time

import torch

from ...domain.generation import GenerationRequest
from ...domain.ports import LAVISH, Frugality, OnStep, RawImage, Rendered
from ..out_of_memory import stage
from .components import SdxlModel
from .decode import decode
from .denoise import denoise
from .text import encode


@torch.inference_mode()
def render(model: SdxlModel, request: GenerationRequest, on_step: OnStep, frugality: Frugality = LAVISH) -> Rendered:
    """Make the images of a request. Engine thread only; leaves the model as it was, and raises OutOfMemory with the stage.

    Images are made one after the other, so that each equals, bit for bit, the same seed asked for alone.
    """
    begun = time.perf_counter()
    with stage("encode"):
        conditioning = encode(model, request)
    encode_s = time.perf_counter() - begun
    denoise_s = decode_s = 0.0
    images: list[RawImage] = []
    warnings = list(conditioning.warnings)
    for index, seed in enumerate(request.seeds):

        def on_image_step(done: int, total: int, index: int = index) -> None:
            on_step(index * total + done, len(request.seeds) * total)

        begun = time.perf_counter()
        with stage("denoise"):
            latents = denoise(
                model, request, conditioning, seed, on_image_step, split_guidance=frugality.split_guidance
            )
        denoised = time.perf_counter()
        with stage("decode"):
            image, warning = decode(model, latents, tiled=frugality.tiled_decode)
        images.append(image)
        if warning is not None and warning not in warnings:
            warnings.append(warning)
        denoise_s += denoised - begun
        decode_s += time.perf_counter() - denoised
    return Rendered(
        images=tuple(images), warnings=tuple(warnings), encode_s=encode_s, denoise_s=denoise_s, decode_s=decode_s
    )
