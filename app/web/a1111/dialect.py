"""The API of AUTOMATIC1111's web UI as a dialect."""

from ..dialect import Dialect
from .checkpoints import CheckpointsController
from .embeddings import EmbeddingsController
from .errors import documented, exception_handlers
from .img2img import img2img
from .lists import ListsController, ping
from .loras import LorasController
from .options_routes import OptionsController
from .pictures import not_implemented
from .png_info import png_info
from .progress import ProgressController
from .sessions import Sessions
from .txt2img import txt2img

A1111 = Dialect(
    name="a1111",
    route_handlers=(
        txt2img,
        not_implemented,
        img2img,
        png_info,
        ping,
        OptionsController,
        CheckpointsController,
        ProgressController,
        ListsController,
        LorasController,
        EmbeddingsController,
    ),
    exception_handlers=exception_handlers,
    documented=documented,
    state=Sessions,
)
