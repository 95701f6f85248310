"""Traces of OpenTelemetry, for installations with the extra `otel`. None of it is imported unless `telemetry.traces` is true."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from ....domain.dispatch.job import BeforeLoad
from ....domain.errors import DiffusionError, FieldError, InvalidSettings
from ....domain.generator import Generated, ImageGenerator, Timings, Work
from ....domain.models.spec import HEAT, ModelName
from ....domain.requests.early_end import EarlyEnd
from ....domain.requests.parameters import GenerationParameters
from ....domain.requests.progress import OnProgress
from ....domain.requests.upscaling.upscale_parameters import UpscaleParameters
from ....domain.upscaling import ImageUpscaler, Upscaled, UpscaleTimings
from ....version import VERSION
from ..logs.phases import Phase, phases_of

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer, TracerProvider

_NAME = "litestar_diffusion"


def tracer(provider: "TracerProvider | None" = None) -> "Tracer":
    """Return the tracer of this package, of a provider or of the process's own.

    Raises:
        InvalidSettings: the packages of the extra are missing.
    """
    with packages_needed():
        from opentelemetry.trace import get_tracer  # here, because most installations have no traces

        return get_tracer(_NAME, VERSION, provider)


def traced(
    generator: ImageGenerator, upscaler: ImageUpscaler, provider: "TracerProvider | None"
) -> tuple[ImageGenerator, ImageUpscaler]:
    """Return both with spans around their requests, from a provider or the process's own.

    Raises:
        InvalidSettings: the packages of the extra are missing.
    """
    made = tracer(provider)
    return TracedGenerator(generator, made), TracedUpscaler(upscaler, made)


@contextmanager
def packages_needed() -> Iterator[None]:
    """Say which packages are missing.

    Raises:
        InvalidSettings: an import failed.
    """
    try:
        yield
    except ImportError as error:
        wrong = FieldError(
            field="telemetry.traces",
            message=f"needs packages that are not installed ({error.name}): pip install 'litestar-diffusion[otel]'",
        )
        raise InvalidSettings("The settings object", [wrong]) from error


class TracedGenerator:
    """Implements `ImageGenerator` with another one: a span for each request, with a span for each phase below it."""

    def __init__(self, inner: ImageGenerator, tracer: "Tracer") -> None:
        self._inner = inner
        self._tracer = tracer

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
        """Make images; see `ImageGenerator.generate`."""
        with _span(self._tracer, "generate", model) as span:
            begun = time.time_ns()
            generated = await self._inner.generate(
                model,
                parameters,
                job_id=job_id,
                client=client,
                on_progress=on_progress,
                previews=previews,
                early_end=early_end,
                before_load=before_load,
            )
            _note(self._tracer, span, begun, generated.timings, _facts(generated))
        return generated

    async def model_of(self, model: str) -> ModelName:
        """See `ImageGenerator.model_of`."""
        return await self._inner.model_of(model)

    async def check(self, model: str, parameters: GenerationParameters) -> ModelName:
        """See `ImageGenerator.check`."""
        return await self._inner.check(model, parameters)

    async def work(self, model: str, parameters: GenerationParameters) -> Work:
        """See `ImageGenerator.work`."""
        return await self._inner.work(model, parameters)

    def refuse_if_full(self, client: str) -> None:
        """See `ImageGenerator.refuse_if_full`."""
        self._inner.refuse_if_full(client)


class TracedUpscaler:
    """Implements `ImageUpscaler` with another one, as `TracedGenerator` does."""

    def __init__(self, inner: ImageUpscaler, tracer: "Tracer") -> None:
        self._inner = inner
        self._tracer = tracer

    async def upscale(
        self,
        parameters: UpscaleParameters,
        *,
        job_id: str | None = None,
        client: str = "",
        on_progress: OnProgress | None = None,
    ) -> Upscaled:
        """Enlarge a picture; see `ImageUpscaler.upscale`."""
        with _span(self._tracer, "upscale", str(parameters.upscaler)) as span:
            begun = time.time_ns()
            upscaled = await self._inner.upscale(parameters, job_id=job_id, client=client, on_progress=on_progress)
            found = {} if upscaled.found is None else {"found": HEAT[upscaled.found]}
            _note(self._tracer, span, begun, upscaled.timings, {"job": upscaled.id, **found})
        return upscaled


@contextmanager
def _span(tracer: "Tracer", name: str, model: str) -> "Iterator[Span]":
    """Open a span below that of the request; an error of the domain is noted by its code, others by their stack."""
    from opentelemetry.trace import StatusCode

    with tracer.start_as_current_span(name, attributes={f"{_NAME}.model": model}, record_exception=False) as span:
        try:
            yield span
        except DiffusionError as error:
            span.set_attribute("error.type", error.code)
            span.set_status(StatusCode.ERROR, error.message)
            raise
        except Exception as error:
            span.record_exception(error)
            raise


def _note(tracer: "Tracer", span: "Span", begun: int, timings: Timings | UpscaleTimings, facts: dict[str, Any]) -> None:
    """Add the facts and the phases of a finished request to its span."""
    if not span.is_recording():
        return
    span.set_attributes({f"{_NAME}.{name}": value for name, value in facts.items()})
    seconds = {each.name.removesuffix("_s"): getattr(timings, each.name) for each in fields(timings)}
    for phase in phases_of(begun, time.time_ns(), seconds):
        tracer.start_span(phase.name, start_time=phase.begun_ns, attributes=_steps(phase, facts)).end(phase.ended_ns)


def _steps(phase: Phase, facts: dict[str, Any]) -> dict[str, Any]:
    return {f"{_NAME}.steps": facts["steps"]} if phase.name == "denoise" and "steps" in facts else {}


def _facts(generated: Generated) -> dict[str, Any]:
    asked = generated.request
    facts: dict[str, int | str | Sequence[str]] = {
        "job": generated.id,
        "model": str(asked.model),
        "width": asked.width,
        "height": asked.height,
        "images": len(generated.images),
        "steps": asked.denoising_steps,
        "found": HEAT[generated.found],
        "warnings": len(generated.warnings),
    }
    return facts
