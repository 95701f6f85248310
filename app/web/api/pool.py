"""`GET /pool`: the memory manager's books, and what it decided lately."""

from collections import Counter
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from litestar import Controller, get
from litestar.di import NamedDependency
from litestar.params import SkipValidation
from msgspec import Meta

from ...domain.dispatch.dispatcher import Dispatcher
from ...domain.memory.event_history import Decision
from ...domain.memory.events import event_facts, event_name
from ...domain.memory.pool import ModelPool
from ...domain.memory.snapshot import ComponentStatus, ModelStatus, PoolReport
from ...domain.models.spec import HEAT, ModelName, Residency
from ..http.route_groups import in_group

RecentDecisions = Callable[[], tuple[Decision, ...]]


class BudgetView(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes of one tier."""

    limit_nbytes: Annotated[int, Meta(description="`memory.device` or `memory.host` of the settings.")] | None
    weights_nbytes: Annotated[int, Meta(description="Weights there or promised, shared ones counted once.")]


class ComponentView(msgspec.Struct, frozen=True, kw_only=True):
    """One network in memory. Models whose weights are the same share it."""

    id: Annotated[str, Meta(description="Stands for the content: equal ids, equal weights.")]
    name: str
    nbytes: int
    dtype: str
    residency: Residency
    models: Annotated[list[str], Meta(description="The models that share it.")]
    leases: int
    idle_s: float | None


class PooledModelView(msgspec.Struct, frozen=True, kw_only=True):
    """A model that was asked for since the start."""

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
    facts: Annotated[dict[str, Any], Meta(description="The model, bytes, seconds, and the reason.")]


class PoolView(msgspec.Struct, frozen=True, kw_only=True):
    """The whole state of the memory manager."""

    device: BudgetView
    host: BudgetView
    reserved_nbytes: Annotated[int, Meta(description="Kept free for the activations of running requests.")]
    leases: int
    waiting: int
    components: list[ComponentView]
    models: list[PooledModelView]
    decisions: Annotated[list[DecisionView], Meta(description="Of the last quarter of an hour, the newest first.")]


class PoolController(Controller):
    """The memory manager."""

    path = "/pool"
    tags = ("models",)
    opt = in_group("pool")

    @get("/", summary="Show the pool", response_description="Its books.", sync_to_thread=False)
    def show_pool(
        self,
        model_pool: NamedDependency[SkipValidation[ModelPool]],
        dispatcher: NamedDependency[SkipValidation[Dispatcher]],
        recent_decisions: NamedDependency[SkipValidation[RecentDecisions]],
    ) -> PoolView:
        """Budgets, every component and model in memory, and what was loaded, moved and evicted lately, with the reasons."""
        return pool_view(model_pool.report(), dispatcher.waiting_by_model(), recent_decisions())


def pool_view(report: PoolReport, waiting_by_model: Counter[ModelName], decisions: tuple[Decision, ...]) -> PoolView:
    """Format the books and the queue for the wire."""
    stats, budget = report.stats, report.budget
    return PoolView(
        device=BudgetView(limit_nbytes=budget.device_nbytes, weights_nbytes=stats.device_nbytes),
        host=BudgetView(limit_nbytes=budget.host_nbytes, weights_nbytes=stats.host_nbytes),
        reserved_nbytes=stats.reserved_nbytes,
        leases=stats.leases,
        waiting=stats.waiting + waiting_by_model.total(),
        components=[_component(component) for component in report.components],
        models=[_model(name, status, waiting_by_model[name]) for name, status in report.models],
        decisions=[_decision(decision) for decision in decisions],
    )


def _component(component: ComponentStatus) -> ComponentView:
    return ComponentView(
        id=component.id,
        name=component.name,
        nbytes=component.nbytes,
        dtype=component.dtype,
        residency=component.residency,
        models=list(component.models),
        leases=component.leases,
        idle_s=_rounded(component.last_used_s_ago),
    )


def _model(name: str, status: ModelStatus, queued: int) -> PooledModelView:
    return PooledModelView(
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
