"""What ingress replicas and workers send each other, pickled by Ray."""

from dataclasses import dataclass

from ..domain.dry_run import DryRunResult
from ..domain.generator import Generated
from ..domain.jobs.record import Failure
from ..domain.requests.parameters import GenerationParameters
from ..domain.requests.progress import Progress
from ..domain.requests.upscaling.upscale_parameters import UpscaleParameters
from ..domain.upscaling import Upscaled


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateCall:
    """Make images."""

    model: str
    parameters: GenerationParameters
    job_id: str
    client: str
    previews: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class UpscaleCall:
    """Enlarge a picture."""

    parameters: UpscaleParameters
    job_id: str
    client: str

    @property
    def model(self) -> str:
        """Name by which calls that need the same weights find the same worker."""
        return f"upscaler:{self.parameters.upscaler}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRunCall:
    """Tell what a request would do."""

    model: str
    parameters: GenerationParameters
    client: str


Call = GenerateCall | UpscaleCall | DryRunCall


@dataclass(frozen=True, slots=True)
class Failed:
    """The call has ended with an error of ours."""

    failure: Failure


Answer = Generated | Upscaled | DryRunResult
Message = Progress | Answer | Failed
"""A call is answered by any number of reports of progress, then by its answer or its failure."""
