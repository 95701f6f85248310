"""Lists that clients ask for before they make a picture. What does not exist here is an empty list."""

from typing import Any

import msgspec
from litestar import Controller, get
from litestar.di import NamedDependency
from litestar.params import SkipValidation

from ....domain.models.catalogue import Catalogues
from ....domain.placement.model_pool import ModelPool
from ....domain.requests.upscaling.upscalers import LANCZOS, UPSCALER_LABELS, network_of
from ...api.service import ServiceFacts
from ...auth.requirements import public, requires
from ...http.route_groups import in_group
from ..done import Done
from ..openapi import id_of_path
from ..samplers import SCHEDULERS, Scheduler, all_samplers, automatic, sampler_aliases
from ..upscalers import NONE, latent_modes


class SamplerView(msgspec.Struct, frozen=True, kw_only=True):
    """A sampler."""

    name: str
    aliases: list[str]
    options: dict[str, str]


class SchedulerView(msgspec.Struct, frozen=True, kw_only=True):
    """A scheduler."""

    name: str
    label: str
    aliases: list[str] | None
    default_rho: float
    need_inner_model: bool


class WebuiUpscalerView(msgspec.Struct, frozen=True, kw_only=True):
    """An upscaler."""

    name: str
    model_name: str | None = None
    model_path: str | None = None
    model_url: str | None = None
    scale: float = 1.0


class LatentUpscaleModeView(msgspec.Struct, frozen=True, kw_only=True):
    """An interpolation of latents."""

    name: str


class ScriptsView(msgspec.Struct, frozen=True, kw_only=True):
    """Scripts: none."""

    txt2img: list[str] = []
    img2img: list[str] = []


class FlagsView(msgspec.Struct, frozen=True, kw_only=True):
    """The flags of the web UI's command line that describe this server."""

    api: bool = True
    nowebui: bool = True


class TierView(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes of one kind of memory."""

    free: int
    used: int
    total: int


class MemoryView(msgspec.Struct, frozen=True, kw_only=True):
    """The budgets of the memory manager, and the weights in them."""

    ram: TierView
    cuda: dict[str, TierView]


class ListsController(Controller):
    """What there is."""

    path = "/sdapi/v1"
    tags = ("a1111",)
    opt = in_group("dialects") | requires("generate", "read")

    @get(
        "/samplers",
        summary="List samplers",
        operation_id="a1111_samplers",
        response_description="The samplers.",
        sync_to_thread=False,
    )
    def samplers(self) -> list[SamplerView]:
        """List the samplers; `options.scheduler` is what `automatic` means if it is not `normal`."""
        return [
            SamplerView(
                name=spec.label,
                aliases=sampler_aliases(spec),
                options={} if (schedule := automatic(spec)) in (None, "normal") else {"scheduler": str(schedule)},
            )
            for spec in all_samplers()
        ]

    @get(
        "/schedulers",
        summary="List schedulers",
        operation_id="a1111_schedulers",
        response_description="The schedulers.",
        sync_to_thread=False,
    )
    def schedulers(self) -> list[SchedulerView]:
        """List the schedulers."""
        return [_scheduler_view(scheduler) for scheduler in SCHEDULERS]

    @get(
        "/upscalers",
        summary="List upscalers",
        operation_id="a1111_upscalers",
        response_description="The upscalers.",
    )
    async def upscalers(self, catalogues: NamedDependency[SkipValidation[Catalogues]]) -> list[WebuiUpscalerView]:
        """List `None`, `Lanczos`, and the usable files of `models/upscalers/`."""
        specs = [spec for spec in await catalogues.upscalers.refresh() if spec.unusable is None]
        files = [
            WebuiUpscalerView(name=spec.name, model_name=spec.name, scale=network_of(spec).scale) for spec in specs
        ]
        return [WebuiUpscalerView(name=NONE), WebuiUpscalerView(name=UPSCALER_LABELS[LANCZOS], scale=4.0), *files]

    @get(
        "/latent-upscale-modes",
        summary="List interpolations of latents",
        operation_id="a1111_latent_upscale_modes",
        response_description="The interpolations.",
        sync_to_thread=False,
    )
    def latent_upscale_modes(self) -> list[LatentUpscaleModeView]:
        """List what `hr_upscaler` can be beside upscalers."""
        return [LatentUpscaleModeView(name=name) for name in latent_modes()]

    @get(
        [
            "/sd-modules",
            "/hypernetworks",
            "/prompt-styles",
            "/face-restorers",
            "/realesrgan-models",
            "/script-info",
            "/extensions",
        ],
        summary="List what does not exist here",
        response_description="An empty list.",
        operation_id=id_of_path,
        sync_to_thread=False,
    )
    def nothing(self) -> list[dict[str, Any]]:
        """Return an empty list."""
        return []

    @get(
        "/scripts",
        summary="List scripts",
        operation_id="a1111_scripts",
        response_description="There are none.",
        sync_to_thread=False,
    )
    def scripts(self) -> ScriptsView:
        """Return empty lists."""
        return ScriptsView()

    @get(
        "/cmd-flags",
        summary="Show flags",
        operation_id="a1111_cmd_flags",
        response_description="The flags.",
        sync_to_thread=False,
    )
    def cmd_flags(self) -> FlagsView:
        """Show which of the web UI's flags describe this server."""
        return FlagsView()

    @get(
        "/memory",
        opt=requires("read"),
        summary="Show memory",
        operation_id="a1111_memory",
        response_description="The budgets.",
        sync_to_thread=False,
    )
    def memory(
        self,
        model_pool: NamedDependency[SkipValidation[ModelPool]],
        service_facts: NamedDependency[SkipValidation[ServiceFacts]],
    ) -> MemoryView:
        """Show the budgets of the memory manager; `GET /pool` has the details."""
        report = model_pool.report()
        budget, stats = report.budget, report.stats
        device = {"system": _tier(budget.device_nbytes, stats.device_nbytes + stats.reserved_nbytes)}
        is_cuda = "cuda" in service_facts.device().lower()
        return MemoryView(ram=_tier(budget.host_nbytes, stats.host_nbytes), cuda=device if is_cuda else {})


@get(
    "/internal/ping",
    summary="Ping",
    operation_id="a1111_ping",
    response_description="An empty object.",
    tags=["a1111"],
    opt=in_group("dialects") | public(),
    sync_to_thread=False,
)
def ping() -> Done:
    """Answer."""
    return Done()


def _scheduler_view(scheduler: Scheduler) -> SchedulerView:
    return SchedulerView(
        name=scheduler.name,
        label=scheduler.label,
        aliases=list(scheduler.aliases) or None,
        default_rho=scheduler.default_rho,
        need_inner_model=scheduler.need_inner_model,
    )


def _tier(total: int | None, used: int) -> TierView:
    total = used if total is None else total
    return TierView(free=max(0, total - used), used=used, total=total)
