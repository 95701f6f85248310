"""Hugging Face's inference API for text-to-image as a dialect."""

from ..api.images.generate import generate
from ..dialect import Dialect
from .errors import exception_handlers
from .text_to_image import generate as generate_or_infer
from .wire import InferenceParameters, InferenceRequest

HUGGINGFACE = Dialect(
    name="huggingface",
    route_handlers=(),  # its clients are given the address of the native route
    replaces={generate: generate_or_infer},
    parameters=(InferenceRequest, InferenceParameters),
    exception_handlers=exception_handlers,
)
