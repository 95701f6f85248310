"""The API of AUTOMATIC1111's web UI as a dialect."""

from ..dialect import Dialect
from .errors import documented, exception_handlers
from .extras import extra_batch_images, extra_single_image
from .generation.img2img import img2img
from .generation.txt2img import txt2img
from .lists.abilities import ListsController, ping
from .lists.checkpoints import CheckpointsController
from .lists.embeddings import EmbeddingsController
from .lists.loras import LorasController
from .options_routes import OptionsController
from .png_info import png_info
from .progress import ProgressController
from .sessions import Sessions

A1111 = Dialect(
    name="a1111",
    route_handlers=(
        txt2img,
        img2img,
        extra_single_image,
        extra_batch_images,
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
