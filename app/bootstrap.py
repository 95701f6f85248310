"""The one composition root: builds all services from the settings. Wiring only; `lifecycle` starts and ends them."""

from pathlib import Path
from typing import TYPE_CHECKING

from .domain.access.key_ring import client_named
from .domain.access.quotas import Quotas
from .domain.dispatch.dispatcher import Dispatcher
from .domain.dispatch.fair_queue import AgingPolicy
from .domain.dispatch.policy import DispatchPolicy
from .domain.dry_run import DryRun
from .domain.engine import Engine
from .domain.errors import FieldError, InvalidSettings
from .domain.generator import LocalImageGenerator
from .domain.jobs.deliveries import Deliveries
from .domain.jobs.job_keeper import JobKeeper
from .domain.jobs.job_store import JobPolicy, JobStore
from .domain.jobs.memory_repository import MemoryJobRepository
from .domain.jobs.repository import JobRepository
from .domain.jobs.retention import Retention
from .domain.jobs.shared_calls import SharedCalls
from .domain.jobs.webhook_deliverer import WebhookDeliverer
from .domain.jobs.webhooks import WebhookPolicy
from .domain.memory.budget_shares import BudgetShares
from .domain.memory.event_history import History
from .domain.memory.events import OnPoolEvent, PoolEvent
from .domain.memory.loading import OnLoading
from .domain.memory.pool import ModelPool
from .domain.models.aliases import Aliases, wrong_aliases
from .domain.models.catalogue import Catalogues
from .domain.requests.inspection import Inspector
from .domain.upscaling import LocalImageUpscaler
from .infra.catalogue.additions import Additions
from .infra.catalogue.catalogue import ModelCatalogue
from .infra.catalogue.embeddings import LocalEmbeddings
from .infra.catalogue.upscaler_files import upscaler_files
from .infra.embedded_texts import PillowEmbeddedTexts
from .infra.engine.engine import TorchEngine
from .infra.engine.inspector import ConfigInspector
from .infra.hub.fetcher import HubFetcher
from .infra.hub.snapshots import cached_snapshot
from .infra.image_encoding import PillowImageWriter
from .infra.pictures.reader import PillowImageReader
from .infra.pictures.thumbnails import PillowThumbnails
from .infra.telemetry.job_log import log_given_up, log_job
from .infra.telemetry.loading_log import LoadingLog
from .infra.telemetry.metrics import Metrics
from .infra.telemetry.pool_log import log_event
from .infra.telemetry.tracing import traced
from .infra.webhooks.sender import HttpWebhookSender
from .lifecycle import Services
from .settings import JobsSettings, Settings, WebhooksSettings

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

    from .infra.jobs.device_lock import DeviceLock

_PACKAGE = Path(__file__).parent
_BUDGET_SHARES = BudgetShares()
"""One for the process, because its memory is one: an application may hold several instances of the plugin."""


def build(
    settings: Settings,
    *,
    engine: Engine | None = None,
    catalogues: Catalogues | None = None,
    inspector: Inspector | None = None,
    on_loading: OnLoading | None = None,
    tracer_provider: "TracerProvider | None" = None,
) -> Services:
    """Build the services of one lifespan. Reads no file, imports no torch, opens no socket.

    Args:
        settings: of all parts.
        engine: instead of the torch engine; for tests.
        catalogues: instead of the files of the settings' models folders; for tests.
        inspector: instead of the one that reads configs and tokenizers; for tests.
        on_loading: receives the progress of loads and downloads; by default it is logged each few seconds.
        tracer_provider: receives spans, if the settings want traces; by default the one of the process.
    """
    cache = Path(settings.hub.cache) if settings.hub.cache is not None else None
    fetcher = HubFetcher(cache=cache, offline=settings.hub.offline)
    catalogues = catalogues or _catalogues(settings, cache)
    device_lock = _device_lock(settings.jobs)
    engine = engine or _engine(settings, fetcher, device_lock)
    inspector = inspector or ConfigInspector(lambda source: cached_snapshot(source, cache))
    metrics, history = Metrics(), History()
    pool = ModelPool(
        catalogues,
        engine,
        on_event=_all_of(log_event, metrics.on_event, history.note),
        on_loading=on_loading or LoadingLog(),
        overdue_s=settings.memory.lease_warning_s,
    )
    dispatcher = Dispatcher(pool, engine, dispatch_policy(settings))
    writer, reader = PillowImageWriter(), PillowImageReader(settings.limits)
    embeddings = LocalEmbeddings(_directories(settings), builtin_models())
    generator = LocalImageGenerator(
        catalogues, dispatcher, writer, reader, settings.limits, embeddings, on_generated=metrics.on_generated
    )
    upscaler = LocalImageUpscaler(
        catalogues.upscalers, dispatcher, writer, reader, settings.limits, on_upscaled=metrics.on_upscaled
    )
    if settings.telemetry.traces:
        generator, upscaler = traced(generator, upscaler, tracer_provider)
    job_store = JobStore(generator, writer, job_policy(settings), _repository(settings.jobs), on_ended=log_job)
    metrics.watch(pool, dispatcher)
    return Services(
        settings=settings,
        catalogues=catalogues,
        engine=engine,
        pool=pool,
        dispatcher=dispatcher,
        generator=generator,
        upscaler=upscaler,
        upscale_calls=SharedCalls(keep_s=settings.jobs.keep_s, max_kept=settings.jobs.max_finished),
        job_store=job_store,
        job_keeper=JobKeeper(job_store, max_attempts=settings.jobs.max_attempts),
        webhook_policy=webhook_policy(settings.webhooks),
        webhooks=_webhooks(settings.webhooks, job_store.repository.deliveries),
        dry_runs=DryRun(catalogues, pool, dispatcher, engine, inspector, reader, settings.limits, embeddings),
        embeddings=embeddings,
        embedded_texts=PillowEmbeddedTexts(),
        thumbnail=PillowThumbnails(),
        metrics=metrics,
        history=history,
        quotas=Quotas(settings.keys, dry_runs_per_minute=settings.limits.dry_runs_per_minute or None),
        budget_shares=_BUDGET_SHARES,
        stop_downloads=fetcher.close,
        free_device=device_lock.free if device_lock is not None else lambda: None,
    )


def _catalogues(settings: Settings, cache: Path | None) -> Catalogues:
    directories = _directories(settings)
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


def model_aliases(settings: Settings) -> Aliases:
    """Build the aliases of the settings.

    Raises:
        InvalidSettings: some are no names, or lead in a circle.
    """
    models = settings.models
    if errors := wrong_aliases(models.aliases, models.default):
        raise InvalidSettings("The settings object", errors)
    return Aliases.of(models.aliases, models.default)


def _repository(jobs: JobsSettings) -> JobRepository:
    if not jobs.directory:
        if jobs.database:
            missing = FieldError(field="jobs.directory", message="must be stated beside jobs.database, for files")
            raise InvalidSettings("The settings object", [missing])
        return MemoryJobRepository()
    from .infra.jobs.folder import jobs_in  # here, because SQLAlchemy takes half a second to import

    return jobs_in(Path(jobs.directory), jobs.database, lease_s=jobs.lease_s, min_free_nbytes=jobs.min_free_bytes)


def webhook_policy(webhooks: WebhooksSettings) -> WebhookPolicy:
    """Build the rules of webhooks from the settings."""
    return WebhookPolicy(allowed_hosts=webhooks.allowed_hosts, allow_private=webhooks.allow_private)


def _webhooks(webhooks: WebhooksSettings, deliveries: Deliveries) -> WebhookDeliverer | None:
    if not webhooks.allowed_hosts:
        return None
    sender = HttpWebhookSender(webhooks.secret, allow_private=webhooks.allow_private, timeout_s=webhooks.timeout_s)
    return WebhookDeliverer(deliveries, sender, webhook_policy(webhooks), on_given_up=log_given_up)


def _device_lock(jobs: JobsSettings) -> "DeviceLock | None":
    """Return the lock of the device; None if no other process can have the jobs of this one."""
    if not jobs.directory:
        return None
    from .infra.jobs.folder import device_lock_in

    return device_lock_in(Path(jobs.directory))


def _engine(settings: Settings, fetcher: HubFetcher, device_lock: "DeviceLock | None") -> TorchEngine:
    return TorchEngine(
        device=settings.device.name,
        dtype=settings.models.dtype,
        threads=settings.device.threads,
        fetch=fetcher,
        prompt_cache_nbytes=settings.memory.prompt_cache,
        on_device=device_lock.take if device_lock is not None else lambda _name: None,
    )


def dispatch_policy(settings: Settings) -> DispatchPolicy:
    """Build the rules of the queue from the settings, in which 0 means no limit."""
    limits, dispatch = settings.limits, settings.dispatch
    return DispatchPolicy(
        max_waiting=limits.max_waiting,
        max_waiting_per_client=limits.max_waiting_per_client or None,
        slice_s=settings.dispatch.slice_s,
        whole_decode_px=settings.dispatch.whole_decode_px or None,
        max_waiting_by_client={
            client_named(name): (key.max_waiting, f"keys.{name}.max_waiting")
            for name, key in settings.keys.items()
            if key.max_waiting is not None
        },
        max_wait_s=limits.max_wait_s or None,
        max_request_s=limits.max_request_s or None,
        aging=AgingPolicy(max_overtaken=dispatch.max_passes, max_wait_s=dispatch.patience_s),
        max_rows=dispatch.max_rows,
        stuck_after_s=dispatch.stuck_after_s,
    )


def job_policy(settings: Settings) -> JobPolicy:
    """Build the rules of job retention from the settings; unfinished jobs are limited to those that can wait and run."""
    jobs = settings.jobs
    return JobPolicy(
        max_unfinished=settings.limits.max_waiting + settings.dispatch.max_rows,
        retention=Retention(
            keep_s=jobs.keep_s, max_finished=jobs.max_finished, max_result_nbytes=jobs.max_result_bytes
        ),
    )


def _all_of(*listeners: OnPoolEvent) -> OnPoolEvent:
    def pass_on(event: PoolEvent) -> None:
        for listener in listeners:
            listener(event)

    return pass_on


def builtin_models() -> Path:
    """Return the folder of the demo models: inside an installed wheel, or `models/` of a checkout."""
    installed = _PACKAGE / "builtin"
    return installed if installed.is_dir() else _PACKAGE.parent / "models"


def _directories(settings: Settings) -> list[Path]:
    """Return the user's folder first, so that its files win over built-in ones of the same name."""
    directories = [Path(settings.models.directory)] if settings.models.directory is not None else []
    builtin = builtin_models()
    if settings.models.builtin and not any(d.resolve() == builtin.resolve() for d in directories):
        directories.append(builtin)
    return directories
