"""OpenAI's Images API as a dialect."""

from ..dialect import Dialect
from .errors import documented, openai_exception_handlers
from .images import ImagesController, PicturesController
from .models import OpenAIModelsController
from .stored_images import StoredImages

OPENAI = Dialect(
    name="openai",
    path="/v1",
    route_handlers=(ImagesController, PicturesController, OpenAIModelsController),
    exception_handlers=openai_exception_handlers,
    documented=documented,
    state=StoredImages,
)
