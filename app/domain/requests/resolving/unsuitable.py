"""Warns about parameters that have no effect, or that do not suit the model."""

from collections.abc import Iterator

from ...models.spec import ModelTraits
from ..parameters import GenerationParameters
from ..request import GenerationRequest
from ..samplers import spec_of, zero_snr_samplers


def unsuitable(parameters: GenerationParameters, request: GenerationRequest, traits: ModelTraits) -> Iterator[str]:
    """Warn about parameters without effect, other files than those of a receipt, and samplers that do not suit the model."""
    if not request.guided:
        if parameters.negative_prompt or parameters.negative_prompt_2:
            yield f"negative_prompt has no effect: guidance_scale is {request.guidance_scale:g}, and it acts only above 1."
        if request.guidance_rescale:
            yield f"guidance_rescale has no effect: guidance_scale is {request.guidance_scale:g}, and it acts only above 1."
    elif traits.few_step and request.guidance_scale > 2 * traits.few_step.guidance_scale:
        yield (
            f"This is a {traits.few_step.kind} model, made for guidance_scale {traits.few_step.guidance_scale:g}; "
            f"{request.guidance_scale:g} usually gives burnt colours."
        )
    if parameters.model_version not in (None, request.model_version):
        yield (
            f"The files or settings of model {request.model!r} have changed since model_version "
            f"{parameters.model_version!r}, it is {request.model_version!r} now: the image may differ."
        )
    if parameters.output_quality is not None and request.output_format == "png":
        yield "output_quality has no effect on png, which is lossless."
    sampler = spec_of(request.sampler)
    if traits.zero_snr and not sampler.zero_snr:
        yield (
            f"Sampler {sampler.name!r} cannot do zero terminal SNR, which this model was trained with; expect greyish "
            f"images. These can: {', '.join(zero_snr_samplers())}."
        )
    if traits.prediction_type == "v_prediction" and not sampler.v_prediction:
        yield f"Sampler {sampler.name!r} is inexact for models that predict v, as this one does; expect faded images."
