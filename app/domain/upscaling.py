"""The upscaler port, and its local implementation: enlarges one picture, with the device if the upscaler is a network."""

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from .dispatch.accepted_job import JobResult
from .dispatch.dispatcher import Resolve
from .dispatch.job import Job
from .dispatch.stage import Stage
from .generator import GeneratedImage
from .memory.plan import Fallback, warnings
from .models.catalogue import Catalogue
from .models.spec import ModelSpec, Residency
from .placement.dispatcher import MachineDispatcher
from .requests.fields import DEFAULT_QUALITY
from .requests.metadata.image_metadata import upscaling_facts
from .requests.parameters import Limits
from .requests.pictures.image_reader import ImageReader
from .requests.pictures.picture import Picture
from .requests.progress import OnProgress
from .requests.rendering import ImageWriter, RawImage, RenderResult
from .requests.upscaling.upscale_parameters import (
    ResolvedUpscaling,
    UpscaleParameters,
    Upscaling,
    refuse_latent,
    resolve_upscaling,
)
from .requests.upscaling.upscale_request import UpscaleRequest
from .requests.upscaling.upscalers import find_upscaler


@dataclass(frozen=True, slots=True, kw_only=True)
class UpscaleTimings:
    """Seconds of each stage of a request."""

    start_s: float = 0.0
    queue_s: float = 0.0
    load_s: float = 0.0
    upscale_s: float = 0.0
    write_s: float
    total_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Upscaled:
    """A finished request."""

    id: str
    parameters: ResolvedUpscaling
    image: GeneratedImage
    timings: UpscaleTimings
    found: Residency | None
    """Residency in which the request found its upscaler; None for `lanczos`."""
    savings: tuple[Fallback, ...]
    warnings: tuple[str, ...]


class ImageUpscaler(Protocol):
    """Enlarges pictures."""

    async def upscale(
        self,
        parameters: UpscaleParameters,
        *,
        job_id: str | None = None,
        client: str = "",
        on_progress: OnProgress | None = None,
    ) -> Upscaled:
        """Enlarge a picture and wait for it. If the waiting task is cancelled, the work stops before its next tile.

        Args:
            parameters: what to do.
            job_id: id of the job in logs; made if absent.
            client: name of the sender; clients share the device fairly.
            on_progress: receives positions in the queue, loading and tiles; called from other threads.

        Raises:
            DiffusionError: see `errors`; nothing else is raised on purpose.
        """
        ...


class LocalImageUpscaler:
    """Implements `ImageUpscaler` with the dispatcher of this process."""

    def __init__(
        self,
        upscalers: Catalogue,
        dispatcher: MachineDispatcher,
        writer: ImageWriter,
        reader: ImageReader,
        limits: Limits,
        *,
        clock: Callable[[], float] = time.monotonic,
        on_upscaled: Callable[[Upscaled], None] = lambda _upscaled: None,
    ) -> None:
        """Make an upscaler; `on_upscaled` receives every finished request and must return at once."""
        self._upscalers = upscalers
        self._dispatcher = dispatcher
        self._writer = writer
        self._reader = reader
        self._limits = limits
        self._clock = clock
        self._on_upscaled = on_upscaled

    async def upscale(
        self,
        parameters: UpscaleParameters,
        *,
        job_id: str | None = None,
        client: str = "",
        on_progress: OnProgress | None = None,
    ) -> Upscaled:
        """Enlarge a picture and wait for it; see `ImageUpscaler.upscale`."""
        begun = self._clock()
        refuse_latent(parameters.upscaler)
        spec = await find_upscaler(self._upscalers, parameters.upscaler, "upscaler")
        uploads = await self._reader.read(parameters.image, None)
        assert uploads.image is not None
        asked = resolve_upscaling(parameters, uploads.image, spec, self._limits)
        job_id = job_id or uuid.uuid4().hex
        result = None
        if asked.network is not None:
            model = asked.network.model
            job = Job(id=job_id, model=model, client=client, priority=parameters.priority, on_progress=on_progress)
            result = await self._dispatcher.run(job, self._stages(asked, asked.network))
        resized_from = self._clock()
        enlarged = _raw(await self._reader.decoded(asked.picture)) if result is None else result.rendered.images[0]
        wanted = asked.parameters
        (picture,) = await self._reader.resized([enlarged], wanted.width, wanted.height, wanted.resize)
        written_from = self._clock()
        image = await self._write(wanted, _raw(picture), asked.factor)
        now = self._clock()
        upscaled = Upscaled(
            id=job_id,
            parameters=wanted,
            image=image,
            timings=_timings(
                result, resize_s=written_from - resized_from, write_s=now - written_from, total_s=now - begun
            ),
            found=None if result is None else result.found,
            savings=() if result is None else result.savings,
            warnings=(*uploads.warnings, *asked.warnings, *(() if result is None else warnings(result.savings))),
        )
        self._on_upscaled(upscaled)
        return upscaled

    def _stages(self, asked: Upscaling, network: UpscaleRequest) -> Resolve:
        async def complete(_before: RenderResult | None) -> UpscaleRequest:
            return replace(network, pictures=(await self._reader.decoded(asked.picture),))

        async def stages(_fetched: ModelSpec) -> tuple[Stage, ...]:
            return (Stage(outline=network, complete=complete),)

        return stages

    async def _write(self, wanted: ResolvedUpscaling, image: RawImage, factor: float) -> GeneratedImage:
        facts = upscaling_facts(wanted, factor)
        quality = wanted.output_quality or DEFAULT_QUALITY[wanted.output_format]
        data = await self._writer.write(image, wanted.output_format, quality, facts)
        return GeneratedImage(seed=0, data=data, width=image.width, height=image.height, format=wanted.output_format)


def _raw(picture: Picture) -> RawImage:
    return RawImage(width=picture.width, height=picture.height, pixels=picture.pixels)


def _timings(result: JobResult | None, *, resize_s: float, write_s: float, total_s: float) -> UpscaleTimings:
    if result is None:
        return UpscaleTimings(upscale_s=resize_s, write_s=write_s, total_s=total_s)
    return UpscaleTimings(
        start_s=result.start_s,
        queue_s=result.queue_s,
        load_s=result.load_s,
        upscale_s=result.upscale_s + resize_s,
        write_s=write_s,
        total_s=total_s,
    )
