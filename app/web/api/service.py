"""`/` and `/health`: facts about the service itself."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from litestar import Controller, Request, Response, get
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import SkipValidation

from ...domain.models.catalogue import Catalogues
from ...domain.models.embeddings import EmbeddingCatalogue
from ...domain.models.embeddings import usable as usable_embeddings
from ...domain.placement.dispatcher import MachineDispatcher
from ...domain.placement.model_pool import ModelPool
from ...domain.requests.parameters import Limits
from ..auth.requirements import public, requires
from ..http.accept import VARY
from ..http.page_requests import also_page, prefers_html
from ..http.route_groups import in_group
from ..page.files import PageFiles
from ..page.page import page_document
from .views import HealthView, ServiceView, limits_view


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceFacts:
    """What the service knows of itself."""

    version: str
    default_model: str | None
    documentation: str
    limits: Limits
    keys: bool
    """Whether clients need one."""
    device: Callable[[], str]
    not_ready_because: Callable[[], str | None]
    """None once requests will be served at full speed."""
    failed: Callable[[], bool]
    """Whether only a restart helps."""
    lost_because: Callable[[], str | None]
    """Why the process can never use its device again; None while it can."""


class ServiceController(Controller):
    """Service facts."""

    tags = ("service",)
    opt = in_group("service") | requires("generate", "read")

    @get(
        "/",
        opt=also_page(),
        summary="Service facts",
        responses={
            200: ResponseSpec(ServiceView, description="The facts; for browsers a page.", generate_examples=False)
        },
    )
    async def facts(
        self,
        request: Request[Any, Any, Any],
        service_facts: NamedDependency[SkipValidation[ServiceFacts]],
        catalogues: NamedDependency[SkipValidation[Catalogues]],
        model_pool: NamedDependency[SkipValidation[ModelPool]],
        dispatcher: NamedDependency[SkipValidation[MachineDispatcher]],
        embeddings: NamedDependency[SkipValidation[EmbeddingCatalogue]],
        page_files: NamedDependency[SkipValidation[PageFiles | None]],
    ) -> Response[Any]:
        """Show the server's name and version, its models and adapters, and which models are loaded; to browsers a page."""
        if page_files is not None and prefers_html(request.headers.get("accept")):
            return page_document(request, page_files, keys=service_facts.keys)
        specs = await catalogues.models.list()
        usable = [spec.name for spec in specs if spec.unusable is None]
        aliases = {alias: str(spec.name) for spec in specs for alias in spec.aliases}
        default = service_facts.default_model
        view = ServiceView(
            service="litestar-diffusion",
            version=service_facts.version,
            device=service_facts.device(),
            ready=service_facts.not_ready_because() is None,
            default_model=None if default is None else aliases.get(default, default),
            models=list(usable),
            aliases=dict(sorted(aliases.items())),
            # Not `list`, which waits for the first scan: after the start the headers of a thousand adapters take a while.
            adapters=[spec.name for spec in catalogues.adapters.snapshot() if spec.unusable is None],
            vaes=[spec.name for spec in catalogues.vaes.snapshot() if spec.unusable is None],
            upscalers=[spec.name for spec in await catalogues.upscalers.list() if spec.unusable is None],
            embeddings=[str(use.name) for use in usable_embeddings(await embeddings.list())],
            loaded=[name for name in usable if model_pool.status(name).residency != "cold"],
            unusable=[spec.name for spec in specs if spec.unusable is not None],
            limits=limits_view(service_facts.limits),
            waiting=dispatcher.depth,
            documentation=_below_root(request, service_facts.documentation),
        )
        return Response(view, headers=VARY)


def _below_root(request: Request[Any, Any, Any], path: str) -> str:
    """Return a path with the prefix of a proxy before it; nothing if there is no path."""
    return f"{request.scope.get('root_path') or ''}{path}" if path else path


class HealthController(Controller):
    """Answers to probes."""

    path = "/health"
    tags = ("service",)
    opt = in_group("health") | public()

    @get(
        "/live",
        summary="Is the process alive?",
        response_description="It is alive.",
        responses={
            503: ResponseSpec(HealthView, description="It has lost its device: restart it.", generate_examples=False)
        },
        sync_to_thread=False,
    )
    def live(self, service_facts: NamedDependency[SkipValidation[ServiceFacts]]) -> Response[HealthView]:
        """Answer as soon as the port is open, and in milliseconds while images are made; 503 if only a restart helps."""
        reason = service_facts.lost_because()
        if reason is not None:
            return Response(HealthView(status="failed", detail=reason), status_code=503)
        return Response(HealthView(status="live", detail="The event loop answers."))

    @get(
        "/ready",
        summary="Will a request be served now?",
        response_description="Requests are served at full speed.",
        responses={503: ResponseSpec(HealthView, description="Not yet; `detail` says why.", generate_examples=False)},
        sync_to_thread=False,
    )
    def ready(self, service_facts: NamedDependency[SkipValidation[ServiceFacts]]) -> Response[HealthView]:
        """200 once torch is imported and the default model is loaded; 503, with the reason, before, or if that has failed."""
        reason = service_facts.not_ready_because()
        if reason is None:
            return Response(HealthView(status="ready", detail="Requests are served."))
        status = "failed" if service_facts.failed() else "starting"
        return Response(HealthView(status=status, detail=reason), status_code=503)
