"""`GET /pool`: the memory manager's books, and what it decided lately."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import msgspec
from litestar import Controller, get
from litestar.di import NamedDependency
from litestar.params import SkipValidation
from msgspec import Meta

from ...domain.memory.event_history import Decision
from ...domain.memory.events import event_facts, event_name
from ...domain.memory.snapshot import AssetStatus, ComponentStatus, PoolReport
from ...domain.models.assets import AssetKind
from ...domain.models.components import ComponentId
from ...domain.models.spec import HEAT, ModelName, Residency
from ...domain.placement.dispatcher import MachineDispatcher
from ...domain.placement.model_pool import DeviceReport, ModelPool
from ..auth.requirements import requires
from ..http.route_groups import in_group

RecentDecisions = Callable[[], tuple[Decision, ...]]


class BudgetView(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes of one tier."""

    limit_nbytes: Annotated[int, Meta(description="`memory.device` or `memory.host` of the settings.")] | None
    weights_nbytes: Annotated[int, Meta(description="Weights there or promised, shared ones counted once.")]


class ComponentView(msgspec.Struct, frozen=True, kw_only=True):
    """One network, or the weights of one adapter, in memory. Models whose weights are the same share it."""

    id: Annotated[str, Meta(description="Stands for the content: equal ids, equal weights.")]
    name: str
    nbytes: int
    dtype: str
    residency: Residency
    models: Annotated[list[str], Meta(description="The models that share it.")]
    adapters: Annotated[list[str], Meta(description="The adapters that it belongs to.")]
    vaes: Annotated[list[str], Meta(description="The VAEs of `models/vae/` that it is.")]
    devices: Annotated[list[str], Meta(description="The devices that have a copy of it.")]
    leases: int
    idle_s: float | None
    eviction_place: Annotated[
        int | None,
        Meta(
            description="Place among those that would leave the device next, from 1; null while it is used or pinned."
        ),
    ]


class PooledAssetView(msgspec.Struct, frozen=True, kw_only=True):
    """A model, an adapter or a VAE that was asked for since the start."""

    name: str
    residency: Residency
    nbytes: int
    pinned: bool
    leases: int
    waiting: Annotated[int, Meta(description="Requests that wait for it.")]
    loads: int
    found: Annotated[dict[str, int], Meta(description="How often a request found it hot, warm or cold.")]
    last_swap_ms: float
    last_swap_gb_per_s: float
    idle_s: float | None


class DecisionView(msgspec.Struct, frozen=True, kw_only=True):
    """A load, a move or an eviction."""

    at: Annotated[float, Meta(description="Seconds since 1970.")]
    what: str
    facts: Annotated[dict[str, Any], Meta(description="The model or adapter, bytes, seconds, and the reason.")]


class DeviceView(msgspec.Struct, frozen=True, kw_only=True):
    """One device of the machine."""

    name: str
    serves: Annotated[bool, Meta(description="Whether it makes images.")]
    out_because: Annotated[str | None, Meta(description="Why it makes none; null while it serves.")]
    memory: BudgetView
    reserved_nbytes: Annotated[int, Meta(description="Kept free for the activations of its running requests.")]
    leases: int
    requests: Annotated[int, Meta(description="Requests that it was given and that have not ended.")]
    models: Annotated[list[str], Meta(description="The models that could run there at once.")]


class PoolView(msgspec.Struct, frozen=True, kw_only=True):
    """The whole state of the memory manager."""

    device: Annotated[BudgetView, Meta(description="All devices together.")]
    host: BudgetView
    devices: list[DeviceView]
    reserved_nbytes: Annotated[int, Meta(description="Kept free for the activations of running requests.")]
    leases: int
    waiting: int
    components: list[ComponentView]
    models: list[PooledAssetView]
    adapters: list[PooledAssetView]
    vaes: list[PooledAssetView]
    decisions: Annotated[list[DecisionView], Meta(description="Of the last quarter of an hour, the newest first.")]


class PoolController(Controller):
    """The memory manager."""

    path = "/pool"
    tags = ("models",)
    opt = in_group("pool") | requires("read")

    @get("/", summary="Show the pool", response_description="Its books.", sync_to_thread=False)
    def show_pool(
        self,
        model_pool: NamedDependency[SkipValidation[ModelPool]],
        dispatcher: NamedDependency[SkipValidation[MachineDispatcher]],
        recent_decisions: NamedDependency[SkipValidation[RecentDecisions]],
    ) -> PoolView:
        """Budgets, every component and asset in memory, and what was loaded, moved and evicted lately, with the reasons."""
        return pool_view(model_pool.report(), model_pool.devices(), dispatcher.waiting_by_model(), recent_decisions())


def pool_view(
    report: PoolReport,
    devices: Sequence[DeviceReport],
    waiting_by_model: Counter[ModelName],
    decisions: tuple[Decision, ...],
) -> PoolView:
    """Format the books and the queue for the wire."""
    stats, budget = report.stats, report.budget
    having = _having(devices)
    return PoolView(
        device=BudgetView(limit_nbytes=budget.device_nbytes, weights_nbytes=stats.device_nbytes),
        host=BudgetView(limit_nbytes=budget.host_nbytes, weights_nbytes=stats.host_nbytes),
        reserved_nbytes=stats.reserved_nbytes,
        leases=stats.leases,
        waiting=stats.waiting + waiting_by_model.total(),
        devices=[_device(device) for device in devices],
        components=[_component(component, having[component.id]) for component in report.components],
        models=_assets(report, "model", waiting_by_model),
        adapters=_assets(report, "adapter", Counter()),
        vaes=_assets(report, "vae", Counter()),
        decisions=[_decision(decision) for decision in decisions],
    )


def _device(device: DeviceReport) -> DeviceView:
    stats, budget = device.report.stats, device.report.budget
    return DeviceView(
        name=device.name,
        serves=device.out_because is None,
        out_because=device.out_because,
        memory=BudgetView(limit_nbytes=budget.device_nbytes, weights_nbytes=stats.device_nbytes),
        reserved_nbytes=stats.reserved_nbytes,
        leases=stats.leases,
        requests=device.depth,
        models=[str(name) for name, status in device.report.models if status.residency == "device"],
    )


def _having(devices: Sequence[DeviceReport]) -> dict[ComponentId, list[str]]:
    """List the devices that have a copy of each component."""
    having = defaultdict[ComponentId, list[str]](list)
    for device in devices:
        for component in device.report.components:
            if component.residency == "device":
                having[component.id].append(device.name)
    return having


def _component(component: ComponentStatus, devices: list[str]) -> ComponentView:
    return ComponentView(
        devices=devices,
        id=component.id,
        name=component.name,
        nbytes=component.nbytes,
        dtype=component.dtype,
        residency=component.residency,
        models=_owners(component, "model"),
        adapters=_owners(component, "adapter"),
        vaes=_owners(component, "vae"),
        leases=component.leases,
        eviction_place=component.eviction_place,
        idle_s=_rounded(component.last_used_s_ago),
    )


def _owners(component: ComponentStatus, kind: AssetKind) -> list[str]:
    return [key.name for key in component.owners if key.kind == kind]


def _assets(report: PoolReport, kind: AssetKind, queued: Counter[ModelName]) -> list[PooledAssetView]:
    return [_asset(key.name, status, queued[ModelName(key.name)]) for key, status in report.assets if key.kind == kind]


def _asset(name: str, status: AssetStatus, queued: int) -> PooledAssetView:
    return PooledAssetView(
        name=name,
        residency=status.residency,
        nbytes=status.nbytes,
        pinned=status.pinned,
        leases=status.leases - status.waiting,
        waiting=status.waiting + queued,
        loads=status.loads,
        found={HEAT[found]: count for found, count in status.found},
        last_swap_ms=round(status.swap_s * 1000, 1),
        last_swap_gb_per_s=round(status.swap_nbytes / status.swap_s / 1e9, 2) if status.swap_s else 0.0,
        idle_s=_rounded(status.last_used_s_ago),
    )


def _decision(decision: Decision) -> DecisionView:
    facts = event_facts(decision.event)
    facts.pop("stack", None)
    return DecisionView(at=round(decision.at, 3), what=event_name(decision.event), facts=facts)


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)
