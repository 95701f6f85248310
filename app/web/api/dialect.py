"""The native API as a dialect."""

from ..dialect import Dialect
from ..http.exception_handlers import exception_handlers
from .generate import generate
from .jobs import JobsController, send_job
from .models import ModelsController
from .pool import PoolController
from .service import ServiceController

NATIVE = Dialect(
    name="native",
    route_handlers=(generate, send_job, JobsController, ModelsController, PoolController, ServiceController),
    exception_handlers=exception_handlers,
)
