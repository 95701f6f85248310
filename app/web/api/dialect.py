"""The native API as a dialect."""

from ..dialect import Dialect
from ..http.errors.exception_handlers import complete_exception_handlers
from .additions import AdapterResidencyController, AdditionsController
from .embeddings import EmbeddingsController
from .images.generate import generate
from .images.upscale import upscale
from .jobs.images import job_image
from .jobs.routes import JobsController, send_job
from .models import ModelsController, ResidencyController
from .pool import PoolController
from .samplers import list_samplers
from .service import HealthController, ServiceController
from .upscalers import list_upscalers

NATIVE = Dialect(
    name="native",
    route_handlers=(
        generate,
        upscale,
        send_job,
        JobsController,
        job_image,
        ModelsController,
        list_upscalers,
        list_samplers,
        EmbeddingsController,
        ResidencyController,
        AdditionsController,
        AdapterResidencyController,
        PoolController,
        ServiceController,
        HealthController,
    ),
    exception_handlers=complete_exception_handlers,
)
