"""Where traces of the standalone application go: by OTLP, as the standard variables OTEL_* say."""

from typing import TYPE_CHECKING

from ....version import VERSION
from .tracing import packages_needed

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider


def otlp_provider() -> "TracerProvider":
    """Return a provider that sends spans from a thread of its own; a collector that is away delays no request.

    It is that of the process if there is one, as under `opentelemetry-instrument`, otherwise one of this application alone.

    Raises:
        InvalidSettings: the packages of the extra are missing.
    """
    with packages_needed():
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace import get_tracer_provider

    if isinstance(present := get_tracer_provider(), TracerProvider):
        return present
    ours = Resource({"service.name": "litestar-diffusion", "service.version": VERSION})
    # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win.
    provider = TracerProvider(resource=Resource.create().merge(ours).merge(OTELResourceDetector().detect()))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider
