"""The generator port, which controllers, the command line and embedding applications call, and its local implementation."""

import asyncio
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from .dispatch.accepted_job import JobResult
from .dispatch.job import BeforeLoad, Job
from .dispatch.passes import stages_of
from .dispatch.stage import Stage
from .families.registry import family_named
from .memory.plan import Fallback, warnings
from .models.spec import ModelName, ModelSpec, Residency
from .placement.dispatcher import MachineDispatcher
from .requests.early_end import EarlyEnd
from .requests.fields import OutputFormat
from .requests.metadata.image_metadata import Provenance, image_facts
from .requests.parameters import GenerationParameters
from .requests.pictures.image_reader import ImageReader
from .requests.pictures.source import without_files
from .requests.progress import OnProgress
from .requests.rendering import ImageWriter, RawImage, RenderResult, StepTiming
from .requests.request import GenerationRequest, Resolved
from .requests.resolving.resolver import RequestResolver
from .shown import cut


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratedImage:
    """One encoded image, and the seed that makes the same image in a request of its own."""

    seed: int
    data: bytes
    width: int
    height: int
    format: OutputFormat
    unfinished: bool = False
    """Whether it ended before its last step: no request makes it again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Seconds of each stage of a request."""

    start_s: float
    """Wait for the engine's start, most of it the import of torch; 0 once it runs."""
    queue_s: float
    load_s: float
    encode_s: float
    denoise_s: float
    decode_s: float
    upscale_s: float = 0.0
    write_s: float
    total_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Generated:
    """A finished request: its images, timings and warnings."""

    id: str
    request: GenerationRequest
    images: tuple[GeneratedImage, ...]
    timings: Timings
    found: Residency
    """Residency in which the request found its model: `hot`, `warm` or `cold`."""
    step_timings: tuple[StepTiming, ...]
    """Its steps and their seconds, by rows of the batch."""
    savings: tuple[Fallback, ...]
    """Memory fallbacks that were needed; empty if memory was enough."""
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a request would cost, as far as that is known before the files of its model are there."""

    model: ModelName
    megapixel_steps: float
    """Width x height x steps x images / 1e6, summed over its passes."""


@runtime_checkable
class ImageGenerator(Protocol):
    """Makes images, with the dispatcher of this process or of a cluster."""

    async def generate(
        self,
        model: str,
        parameters: GenerationParameters,
        *,
        job_id: str | None = None,
        client: str = "",
        on_progress: OnProgress | None = None,
        previews: bool = False,
        early_end: EarlyEnd | None = None,
        before_load: BeforeLoad | None = None,
    ) -> Generated:
        """Make images and wait for them. If the waiting task is cancelled, the work stops before its next step.

        Args:
            model: name of a catalogue entry, or an alias.
            parameters: what to make.
            job_id: id of the job in logs; made if absent.
            client: name of the sender; clients share the device fairly.
            on_progress: receives positions in the queue, loading and steps; called from other threads.
            previews: whether it receives unfinished images too.
            early_end: may ask the running request to end early, with what is denoised so far.
            before_load: awaited once, before its model is loaded for it.

        Raises:
            DiffusionError: see `errors`; nothing else is raised on purpose.
        """
        ...

    async def model_of(self, model: str) -> ModelName:
        """Return the name of the entry that a name or an alias means.

        Raises:
            UnknownModel: no such entry.
        """
        ...

    async def check(self, model: str, parameters: GenerationParameters) -> ModelName:
        """Check everything about a request that can be checked without the files of its model.

        Args:
            model: name of a catalogue entry, or an alias.
            parameters: what to make.

        Returns:
            The name of the entry.

        Raises:
            UnknownModel: no such entry.
            UnusableModel: the files of the entry cannot be used.
            UnknownAdapter, UnusableAdapter, UnknownVae, UnusableVae: as for the model.
            InvalidRequest: with every field that breaks a limit.
        """
        ...

    async def work(self, model: str, parameters: GenerationParameters) -> Work:
        """Check a request as `check` does, and return what it would cost.

        Raises:
            UnknownModel, UnusableModel, InvalidRequest: as `check` does.
        """
        ...

    def refuse_if_full(self, client: str) -> None:
        """Raise the error with which `generate` would refuse a request of a client now, because too many wait.

        Raises:
            QueueFull, TooManyRequests, ShuttingDown, EngineStuck, EngineFailed: as `generate` does.
        """
        ...


class LocalImageGenerator:
    """Implements `ImageGenerator` with the dispatcher of this process: checks, runs, encodes."""

    def __init__(
        self,
        resolver: RequestResolver,
        dispatcher: MachineDispatcher,
        writer: ImageWriter,
        reader: ImageReader,
        *,
        clock: Callable[[], float] = time.monotonic,
        on_generated: Callable[[Generated], None] = lambda _generated: None,
    ) -> None:
        """Make a generator; `on_generated` receives every finished request and must return at once."""
        self._on_generated = on_generated
        self._resolver = resolver
        self._dispatcher = dispatcher
        self._writer = writer
        self._reader = reader
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
        early_end: EarlyEnd | None = None,
        before_load: BeforeLoad | None = None,
    ) -> Generated:
        """Make images and wait for them; see `ImageGenerator.generate`."""
        begun = self._clock()
        spec, uploads = await self._resolver.checked(model, parameters)
        job = Job(
            id=job_id or uuid.uuid4().hex,
            model=spec.name,
            client=client,
            priority=parameters.priority,
            on_progress=on_progress,
            previews=previews,
            early_end=early_end or EarlyEnd(),
            before_load=before_load,
        )
        resolved: Resolved | None = None

        async def stages(fetched: ModelSpec) -> tuple[Stage, ...]:
            nonlocal resolved
            resolved = await self._resolver.resolved(parameters, fetched, uploads)
            return stages_of(resolved.request, self._reader)

        job_result = await self._dispatcher.run(job, stages)
        assert resolved is not None
        request = _begun_part(resolved.request, job_result)
        written_from = self._clock()
        images = await self._write_all(request, job_result)
        now = self._clock()
        generated = Generated(
            id=job.id,
            request=request,
            images=images,
            timings=_timings(job_result, write_s=now - written_from, total_s=now - begun),
            found=job_result.found,
            step_timings=job_result.rendered.step_timings,
            savings=job_result.savings,
            warnings=tuple(_all_warnings(parameters, resolved, job_result)),
        )
        self._on_generated(generated)
        return generated

    def refuse_if_full(self, client: str) -> None:
        """Raise if too many requests wait; see `ImageGenerator.refuse_if_full`."""
        self._dispatcher.refuse_if_full(client)

    async def model_of(self, model: str) -> ModelName:
        """Return the name of an entry; see `ImageGenerator.model_of`."""
        return (await self._resolver.entry(model)).name

    async def check(self, model: str, parameters: GenerationParameters) -> ModelName:
        """Check a request without files; see `ImageGenerator.check`."""
        spec, _ = await self._resolver.checked(model, parameters)
        return spec.name

    async def work(self, model: str, parameters: GenerationParameters) -> Work:
        """Return what a request would cost; see `ImageGenerator.work`."""
        spec, megapixel_steps = await self._resolver.work(model, parameters)
        return Work(model=spec.name, megapixel_steps=megapixel_steps)

    async def _write_all(self, request: GenerationRequest, job_result: JobResult) -> tuple[GeneratedImage, ...]:
        """Encode the images that were begun, each in a thread."""
        raws = enumerate(job_result.rendered.images)
        return tuple(await asyncio.gather(*(self._write(request, job_result, raw, place) for place, raw in raws)))

    async def _write(
        self, request: GenerationRequest, job_result: JobResult, raw: RawImage, place: int
    ) -> GeneratedImage:
        seed, unfinished = request.seeds[place], place in job_result.rendered.unfinished
        provenance = Provenance(
            model_version=job_result.spec.version,
            dtype=job_result.rendered.dtype,
            shared_steps=_shared_steps(request, job_result.rendered),
            memory_savings=job_result.savings,
            unfinished=unfinished,
        )
        facts = image_facts(
            request,
            seed=seed,
            provenance=provenance,
            clip_skip_base=family_named(job_result.spec.traits.family).clip_skip_base,
        )
        if isinstance(job_result.request, GenerationRequest):
            raw = await self._reader.compose(job_result.request, raw)
        data = await self._writer.write(raw, request.output_format, request.output_quality, facts)
        return GeneratedImage(
            seed=seed,
            data=data,
            width=raw.width,
            height=raw.height,
            format=request.output_format,
            unfinished=unfinished,
        )


def _begun_part(request: GenerationRequest, job_result: JobResult) -> GenerationRequest:
    """Return the request without the seeds whose images were not begun, because it ended early."""
    seeds = request.seeds[: len(job_result.rendered.images)]
    return replace(request, source=without_files(request.source), seeds=seeds, assets=job_result.request.assets)


def _all_warnings(parameters: GenerationParameters, resolved: Resolved, job_result: JobResult) -> Iterator[str]:
    yield from resolved.warnings
    yield from _dtype_warnings(parameters.dtype, job_result.rendered.dtype)
    yield from job_result.rendered.warnings
    yield from _early_end_warnings(resolved.request, job_result)
    yield from warnings(job_result.savings)


def _early_end_warnings(request: GenerationRequest, job_result: JobResult) -> Iterator[str]:
    rendered, seeds = job_result.rendered, request.seeds
    if rendered.unfinished:
        unfinished = ", ".join(str(seeds[place]) for place in sorted(rendered.unfinished))
        yield f"Interrupted: the image of seed {unfinished} is unfinished, and no request makes it again."
    if missing := len(seeds) - len(rendered.images):
        yield f"Interrupted: {missing} of {len(seeds)} images were not begun."


def _dtype_warnings(expected: str | None, computed_in: str) -> Iterator[str]:
    if expected and computed_in and expected != computed_in:
        yield (
            f"An earlier image was computed in {cut(expected)!r}, this one in {computed_in!r}: they differ by rounding "
            "(models.dtype chooses)."
        )


def _shared_steps(request: GenerationRequest, rendered: RenderResult) -> bool:
    """Return whether an image shared a step: a batch had more rows than one image takes."""
    return any(timing.rows > request.rows_an_image for timing in rendered.step_timings)


def _timings(job_result: JobResult, *, write_s: float, total_s: float) -> Timings:
    rendered = job_result.rendered
    return Timings(
        start_s=job_result.start_s,
        queue_s=job_result.queue_s,
        load_s=job_result.load_s,
        encode_s=rendered.encode_s,
        denoise_s=rendered.denoise_s,
        decode_s=rendered.decode_s,
        upscale_s=job_result.upscale_s,
        write_s=write_s,
        total_s=total_s,
    )
