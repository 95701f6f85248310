"""What the engine works on: a tagged union by class."""

from .request import GenerationRequest
from .upscaling.upscale_request import UpscaleRequest

RenderRequest = GenerationRequest | UpscaleRequest
"""Images that a model makes, or pictures that an upscaler enlarges."""
