"""The one composition root: builds all services from the settings. Wiring only; `lifecycle` starts and ends them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .domain.access.quotas import Quotas
from .domain.dispatch.dispatcher import Dispatcher
from .domain.dry_run import DryRun, DryRuns
from .domain.engine import Engine, Engines, Machine
from .domain.errors import FieldError, InvalidSettings
from .domain.freed_memory import FreedMemory
from .domain.generator import ImageGenerator, LocalImageGenerator
from .domain.jobs.job_keeper import JobKeeper
from .domain.jobs.job_store import JobStore
from .domain.jobs.keeping.memory_repository import MemoryJobRepository
from .domain.jobs.keeping.repository import JobRepository
from .domain.jobs.shared_calls import SharedCalls
from .domain.jobs.webhooks.deliverer import WebhookDeliverer
from .domain.jobs.webhooks.deliveries import Deliveries
from .domain.memory.budget_shares import BudgetShares
from .domain.memory.event_history import History
from .domain.memory.events import OnPoolEvent, PoolEvent
from .domain.memory.host_tier import HostTier
from .domain.memory.loading import OnLoading
from .domain.memory.pool import DevicePool
from .domain.models.catalogue import Catalogues
from .domain.models.embeddings import EmbeddingCatalogue
from .domain.placement.bring_times import BringTimes
from .domain.placement.devices import Devices
from .domain.placement.dispatcher import MachineDispatcher
from .domain.placement.model_pool import ModelPool
from .domain.placement.serving_device import ServingDevice
from .domain.requests.inspection import Inspector
from .domain.requests.rendering import ImageWriter
from .domain.requests.resolving.resolver import RequestResolver
from .domain.upscaling import ImageUpscaler, LocalImageUpscaler
from .infra.catalogue.additions.additions import Additions
from .infra.catalogue.additions.embeddings import LocalEmbeddings
from .infra.catalogue.additions.upscaler_files import upscaler_files
from .infra.catalogue.models.catalogue import ModelCatalogue
from .infra.device.malloc import give_back_freed_memory
from .infra.embedded_texts import PillowEmbeddedTexts
from .infra.engine.inspector import ConfigInspector
from .infra.engine.machine import TorchMachine
from .infra.hub.fetcher import HubFetcher
from .infra.hub.snapshots import cached_snapshot
from .infra.image_encoding import PillowImageWriter
from .infra.pictures.reader import PillowImageReader
from .infra.pictures.thumbnails import PillowThumbnails
from .infra.telemetry.logs.job_log import log_given_up, log_job
from .infra.telemetry.logs.loading_log import LoadingLog
from .infra.telemetry.logs.pool_log import log_event
from .infra.telemetry.metrics.metrics import Metrics
from .infra.telemetry.traces.tracing import traced
from .infra.webhooks.sender import HttpWebhookSender
from .lifecycle import Services
from .model_folders import builtin_models, model_folders
from .policies import dispatch_policy, job_policy, model_aliases, webhook_policy
from .settings import JobsSettings, Settings, WebhooksSettings

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

    from .infra.jobs.device_lock import DeviceLock

_BUDGET_SHARES = BudgetShares()
"""One for the process, because its memory is one: an application may hold several instances of the plugin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Telemetry:
    """What listens to the other parts."""

    metrics: Metrics
    history: History


@dataclass(frozen=True, slots=True, kw_only=True)
class _Models:
    """What finds, holds and runs models."""

    fetcher: HubFetcher
    device_lock: "DeviceLock | None"
    catalogues: Catalogues
    embeddings: EmbeddingCatalogue
    machine: Machine
    devices: Devices
    pool: ModelPool
    dispatcher: MachineDispatcher


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """What makes images, and says what would be made."""

    writer: ImageWriter
    generator: ImageGenerator
    upscaler: ImageUpscaler
    dry_runs: DryRuns


Elsewhere = Callable[[Requests, Metrics], Requests]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Jobs:
    """What keeps requests beyond their connections."""

    store: JobStore
    keeper: JobKeeper
    webhooks: WebhookDeliverer | None


def build(
    settings: Settings,
    *,
    engine: Engine | Sequence[Engine] | None = None,
    catalogues: Catalogues | None = None,
    inspector: Inspector | None = None,
    on_loading: OnLoading | None = None,
    tracer_provider: "TracerProvider | None" = None,
    elsewhere: "Elsewhere | None" = None,
) -> Services:
    """Build the services of one lifespan. Reads no file, imports no torch, opens no socket.

    Args:
        settings: of all parts.
        engine: instead of the torch engine, or one for each device, with one loader; for tests.
        catalogues: instead of the files of the settings' models folders; for tests.
        inspector: instead of the one that reads configs and tokenizers; for tests.
        on_loading: receives the progress of loads and downloads; by default it is logged each few seconds.
        elsewhere: has images made by other processes; receives what would make them here, which checks requests still.
        tracer_provider: receives spans, if the settings want traces; by default the one of the process.
    """
    telemetry = _Telemetry(metrics=Metrics(), history=History())
    models = _models(settings, telemetry, engine, catalogues, on_loading)
    requests = _requests(settings, models, telemetry, inspector, tracer_provider)
    if elsewhere is not None:
        requests = elsewhere(requests, telemetry.metrics)
    jobs = _jobs(settings, requests)
    return _services(settings, telemetry, models, requests, jobs, loads_models=elsewhere is None)


def _models(
    settings: Settings,
    telemetry: _Telemetry,
    engine: Engine | Sequence[Engine] | None,
    catalogues: Catalogues | None,
    on_loading: OnLoading | None,
) -> _Models:
    cache = _hub_cache(settings)
    fetcher = HubFetcher(cache=cache, offline=settings.hub.offline)
    device_lock = _device_lock(settings.jobs)
    catalogues = catalogues or _catalogues(settings, cache)
    machine = _machine(settings, fetcher, device_lock) if engine is None else _known(engine)
    bring_times = BringTimes()
    on_event = _all_of(log_event, telemetry.metrics.on_event, telemetry.history.note, bring_times.on_event)
    devices = Devices(machine, _serving(settings, catalogues, on_event, on_loading or LoadingLog()))
    pool = ModelPool(devices)
    dispatcher = MachineDispatcher(devices, dispatch_policy(settings), bring_times)
    telemetry.metrics.watch(pool, dispatcher)
    return _Models(
        fetcher=fetcher,
        device_lock=device_lock,
        catalogues=catalogues,
        embeddings=LocalEmbeddings(model_folders(settings.models), builtin_models()),
        machine=machine,
        devices=devices,
        pool=pool,
        dispatcher=dispatcher,
    )


def _requests(
    settings: Settings,
    models: _Models,
    telemetry: _Telemetry,
    inspector: Inspector | None,
    tracer_provider: "TracerProvider | None",
) -> Requests:
    catalogues, dispatcher = models.catalogues, models.dispatcher
    limits, metrics = settings.limits, telemetry.metrics
    writer, reader = PillowImageWriter(), PillowImageReader(limits, FreedMemory(give_back_freed_memory))
    resolver = RequestResolver(catalogues, reader, limits, models.embeddings)
    generator = LocalImageGenerator(resolver, dispatcher, writer, reader, on_generated=metrics.on_generated)
    upscaler = LocalImageUpscaler(
        catalogues.upscalers, dispatcher, writer, reader, limits, on_upscaled=metrics.on_upscaled
    )
    if settings.telemetry.traces:
        generator, upscaler = traced(generator, upscaler, tracer_provider)
    inspector = inspector or _inspector(_hub_cache(settings))
    dry_runs = DryRun(resolver, dispatcher, inspector)
    return Requests(writer=writer, generator=generator, upscaler=upscaler, dry_runs=dry_runs)


def _jobs(settings: Settings, requests: Requests) -> _Jobs:
    repository = _repository(settings.jobs)
    store = JobStore(requests.generator, requests.writer, job_policy(settings), repository, on_ended=log_job)
    return _Jobs(
        store=store,
        keeper=JobKeeper(repository, store.runner, store.capacity, max_attempts=settings.jobs.max_attempts),
        webhooks=_webhooks(settings.webhooks, repository.deliveries),
    )


def _services(
    settings: Settings,
    telemetry: _Telemetry,
    models: _Models,
    requests: Requests,
    jobs: _Jobs,
    *,
    loads_models: bool,
) -> Services:
    return Services(
        settings=settings,
        loads_models=loads_models,
        catalogues=models.catalogues,
        machine=models.machine,
        devices=models.devices,
        pool=models.pool,
        dispatcher=models.dispatcher,
        generator=requests.generator,
        upscaler=requests.upscaler,
        upscale_calls=SharedCalls(job_policy(settings).retention, lambda upscaled: len(upscaled.image.data)),
        job_store=jobs.store,
        job_keeper=jobs.keeper,
        webhook_policy=webhook_policy(settings.webhooks),
        webhooks=jobs.webhooks,
        dry_runs=requests.dry_runs,
        embeddings=models.embeddings,
        embedded_texts=PillowEmbeddedTexts(),
        thumbnail=PillowThumbnails(),
        metrics=telemetry.metrics,
        history=telemetry.history,
        quotas=Quotas(settings.keys, dry_runs_per_minute=settings.limits.dry_runs_per_minute or None),
        budget_shares=_BUDGET_SHARES,
        stop_downloads=models.fetcher.close,
        free_device=models.device_lock.free if models.device_lock is not None else lambda: None,
    )


def _hub_cache(settings: Settings) -> Path | None:
    return Path(settings.hub.cache) if settings.hub.cache is not None else None


def _catalogues(settings: Settings, cache: Path | None) -> Catalogues:
    directories = model_folders(settings.models)
    additions = Additions.of(directories, builtin_models())
    models = ModelCatalogue(
        directories=directories,
        builtin=builtin_models(),
        overrides=settings.models.local,
        hub=settings.models.hub if settings.models.hub_enabled else (),
        hub_cache=cache,
        aliases=model_aliases(settings),
        additions=additions,
    )
    return Catalogues(
        models=models,
        adapters=additions.adapters,
        vaes=additions.vaes,
        upscalers=upscaler_files(directories, builtin_models()),
    )


def _machine(settings: Settings, fetcher: HubFetcher, device_lock: "DeviceLock | None") -> Machine:
    return TorchMachine(
        settings.device.used,
        dtype=settings.models.dtype,
        threads=settings.device.threads,
        fetch=fetcher,
        prompt_cache_nbytes=settings.memory.prompt_cache,
        on_device=device_lock.take if device_lock is not None else lambda _name: None,
    )


def _known(engine: Engine | Sequence[Engine]) -> Machine:
    return Engines(engine if isinstance(engine, Sequence) else [engine])


def _device_lock(jobs: JobsSettings) -> "DeviceLock | None":
    """Return the lock of the device; None if no other process can have the jobs of this one."""
    if not jobs.directory:
        return None
    from .infra.jobs.folder import device_lock_in

    return device_lock_in(Path(jobs.directory))


def _serving(
    settings: Settings, catalogues: Catalogues, on_event: OnPoolEvent, on_loading: OnLoading
) -> Callable[[Engine], ServingDevice]:
    """Return what builds the pool and the dispatcher of a device."""
    host, policy = HostTier(), dispatch_policy(settings)

    def serve(engine: Engine) -> ServingDevice:
        pool = DevicePool(
            catalogues,
            engine,
            on_event=on_event,
            on_loading=on_loading,
            overdue_s=settings.memory.lease_warning_s,
            host=host,
        )
        return ServingDevice(engine=engine, pool=pool, dispatcher=Dispatcher(pool, engine, policy))

    return serve


def _inspector(cache: Path | None) -> ConfigInspector:
    return ConfigInspector(lambda source: cached_snapshot(source, cache))


def _repository(jobs: JobsSettings) -> JobRepository:
    if not jobs.directory:
        if jobs.database:
            missing = FieldError(field="jobs.directory", message="must be stated beside jobs.database, for files")
            raise InvalidSettings("The settings object", [missing])
        return MemoryJobRepository()
    from .infra.jobs.folder import jobs_in  # here, because SQLAlchemy takes half a second to import

    return jobs_in(Path(jobs.directory), jobs.database, lease_s=jobs.lease_s, min_free_nbytes=jobs.min_free_bytes)


def _webhooks(webhooks: WebhooksSettings, deliveries: Deliveries) -> WebhookDeliverer | None:
    if not webhooks.allowed_hosts:
        return None
    sender = HttpWebhookSender(webhooks.secret, allow_private=webhooks.allow_private, timeout_s=webhooks.timeout_s)
    return WebhookDeliverer(deliveries, sender, webhook_policy(webhooks), on_given_up=log_given_up)


def _all_of(*listeners: OnPoolEvent) -> OnPoolEvent:
    def pass_on(event: PoolEvent) -> None:
        for listener in listeners:
            listener(event)

    return pass_on
