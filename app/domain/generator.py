"""The one thing that controllers, the command line and embedding applications call to make images."""

import asyncio
import secrets
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .dispatch.dispatcher import Dispatcher, JobResult
from .dispatch.job import Job
from .engine import Engine
from .errors import FieldError, InvalidRequest, UnusableModel
from .memory.ledger import Found
from .memory.plan import Fallback, warnings
from .models.catalogue import Catalogue
from .requests.image_metadata import image_facts
from .requests.parameters import GenerationParameters, Limits, OutputFormat
from .requests.progress import OnProgress
from .requests.rendering import ImageWriter, RawImage, StepTiming
from .requests.request import GenerationRequest
from .requests.resolution import broken_limits, resolve

_RANDOM_SEED_BITS = 32
"""Short enough to be read aloud, and below the 2**53 that JSON clients can hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratedImage:
    """One encoded picture and the seed that alone gives it again."""

    seed: int
    data: bytes
    width: int
    height: int
    format: OutputFormat


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Where the time of a request went, in seconds."""

    queue_s: float
    load_s: float
    encode_s: float
    denoise_s: float
    decode_s: float
    write_s: float
    total_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Generated:
    """A finished request."""

    id: str
    request: GenerationRequest
    images: tuple[GeneratedImage, ...]
    timings: Timings
    found: Found
    """Where the request found its model: `hot`, `warm` or `cold`."""
    step_timings: tuple[StepTiming, ...]
    """Its steps, by the rows of the batch that they shared."""
    savings: tuple[Fallback, ...]
    """Which rungs of the ladder saved memory; none where there was enough."""
    warnings: tuple[str, ...]


class ImageGenerator:
    """Resolves parameters, runs them through the dispatcher, encodes what comes out."""

    def __init__(
        self,
        catalogue: Catalogue,
        dispatcher: Dispatcher,
        engine: Engine,
        writer: ImageWriter,
        limits: Limits,
        *,
        clock: Callable[[], float] = time.monotonic,
        on_generated: Callable[[Generated], None] = lambda _generated: None,
    ) -> None:
        """Build it; `on_generated` hears of every finished request and must return at once."""
        self._on_generated = on_generated
        self._catalogue = catalogue
        self._dispatcher = dispatcher
        self._engine = engine
        self._writer = writer
        self._limits = limits
        self._clock = clock

    async def generate(
        self,
        model: str,
        parameters: GenerationParameters,
        *,
        job_id: str | None = None,
        client: str = "",
        on_progress: OnProgress | None = None,
        previews: bool = False,
    ) -> Generated:
        """Make images and wait for them. Cancelling the waiting task stops the work before its next step.

        Args:
            model: name of a catalogue entry.
            parameters: what to make.
            job_id: shows up in logs; made when absent.
            client: who asks; clients share the device fairly.
            on_progress: hears of the queue, of loading and of every step, from other threads.
            previews: whether it hears of unfinished images too.

        Raises:
            DiffusionError: see `errors`; nothing else is raised on purpose.
        """
        begun = self._clock()
        spec = self._catalogue.get(model)
        resolved = resolve(parameters, spec, self._limits, random_seed=random_seed())
        request = resolved.request
        await self._engine.start()
        plan = self._dispatcher.plan(spec, request)
        job = Job(
            id=job_id or uuid.uuid4().hex,
            model=spec.name,
            client=client,
            priority=parameters.priority,
            on_progress=on_progress,
            previews=previews,
        )
        job_result = await self._dispatcher.run(job, request, plan)
        written_from = self._clock()
        images = await asyncio.gather(
            *(
                self._write(request, job_result, raw, seed)
                for raw, seed in zip(job_result.rendered.images, request.seeds, strict=True)
            )
        )
        now = self._clock()
        generated = Generated(
            id=job.id,
            request=request,
            images=tuple(images),
            timings=_timings(job_result, write_s=now - written_from, total_s=now - begun),
            found=job_result.found,
            step_timings=job_result.rendered.step_timings,
            savings=job_result.savings,
            warnings=resolved.warnings + job_result.rendered.warnings + warnings(job_result.savings),
        )
        self._on_generated(generated)
        return generated

    def refuse_if_full(self, client: str) -> None:
        """Refuse a request before anything is done for it, if it would have to wait behind too many.

        Raises:
            QueueFull, TooManyRequests, ShuttingDown, EngineStuck: as `generate` does.
        """
        self._dispatcher.refuse_if_full(client)

    def check(self, model: str, parameters: GenerationParameters, wrong: Sequence[FieldError]) -> None:
        """Refuse parameters that hold wrong fields, and name those that break a limit along with them.

        Args:
            model: name of a catalogue entry.
            parameters: without the wrong fields.
            wrong: what is known to be wrong already.

        Raises:
            UnknownModel: no such entry.
            InvalidRequest: with `wrong` and whatever breaks a limit besides.
            UnusableModel: the entry is known to be broken.
        """
        named = {error.field for error in wrong}
        spec = self._catalogue.get(model)
        broken = broken_limits(parameters, spec, self._limits)
        if errors := [*wrong, *(error for error in broken if error.field not in named)]:
            raise InvalidRequest(errors)
        if spec.unusable is not None:
            raise UnusableModel(model, spec.unusable)

    async def _write(
        self, request: GenerationRequest, job_result: JobResult, raw: RawImage, seed: int
    ) -> GeneratedImage:
        facts = image_facts(request, seed=seed, model_version=job_result.model_version)
        data = await self._writer.write(raw, request.output_format, request.output_quality, facts)
        return GeneratedImage(seed=seed, data=data, width=raw.width, height=raw.height, format=request.output_format)


def _timings(job_result: JobResult, *, write_s: float, total_s: float) -> Timings:
    rendered = job_result.rendered
    return Timings(
        queue_s=job_result.queue_s,
        load_s=job_result.load_s,
        encode_s=rendered.encode_s,
        denoise_s=rendered.denoise_s,
        decode_s=rendered.decode_s,
        write_s=write_s,
        total_s=total_s,
    )


def random_seed() -> int:
    """For a request that names none."""
    return secrets.randbits(_RANDOM_SEED_BITS)
