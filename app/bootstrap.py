"""The one composition root: settings in, services out."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from .domain.dispatch.dispatcher import Dispatcher, DispatchPolicy
from .domain.dispatch.fair_queue import AgingPolicy
from .domain.dry_run import DryRun
from .domain.engine import Engine
from .domain.errors import DiffusionError
from .domain.generator import ImageGenerator, LocalImageGenerator
from .domain.jobs.job_store import JobPolicy, JobStore
from .domain.memory.budget import Budget
from .domain.memory.event_history import History
from .domain.memory.events import OnPoolEvent, PoolEvent
from .domain.memory.pool import ModelPool
from .domain.models.catalogue import Catalogue
from .infra.catalogue.catalogue import ModelCatalogue
from .infra.device.host_memory import host_nbytes
from .infra.engine.engine import TorchEngine
from .infra.engine.inspector import ConfigInspector
from .infra.hub.fetcher import HubFetcher
from .infra.hub.snapshots import cached_snapshot
from .infra.image_encoding import PillowImageWriter
from .infra.telemetry.job_log import log_job
from .infra.telemetry.metrics import Metrics
from .infra.telemetry.pool_log import log_event
from .settings import MemorySettings, Settings

_log = structlog.get_logger()
_PACKAGE = Path(__file__).parent


@dataclass(slots=True, kw_only=True)
class Services:
    """Everything that an application needs, wired; `running` is its life."""

    settings: Settings
    catalogue: Catalogue
    engine: Engine
    pool: ModelPool
    dispatcher: Dispatcher
    generator: ImageGenerator
    job_store: JobStore
    dry_runs: DryRun
    metrics: Metrics = field(default_factory=Metrics)
    history: History = field(default_factory=History)
    stop_downloads: Callable[[], None] = lambda: None
    _not_ready: str | None = field(default="The engine is starting: torch is being imported.")

    def not_ready_because(self) -> str | None:
        """Why a request would have to wait now; None once the engine runs and the default model is loaded."""
        return self._not_ready or self.dispatcher.unresponsive_because

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Start in the background, so that health is answered at once; at the end, finish or stop what runs."""
        self._log_models()
        starting = asyncio.create_task(self._start(), name="start engine")
        tidying = asyncio.create_task(self._unload_idle(), name="unload idle models")
        watching = asyncio.create_task(self._watch_device(), name="watch the device")
        try:
            yield
        finally:
            await self.end()
            starting.cancel()
            tidying.cancel()
            watching.cancel()
            await asyncio.wait([starting, tidying, watching])
            await self.pool.close()
            await self.engine.stop()

    async def end(self) -> None:
        """Refuse new requests, end those that wait, give the running one its grace, then stop it. May be called twice."""
        self._not_ready = "The server is shutting down."
        self.dispatcher.close()
        self.stop_downloads()
        await self.dispatcher.drain(self.settings.server.shutdown_grace_s)

    async def _start(self) -> None:
        try:
            await self.engine.start()
            self.pool.set_budget(_budget(self.settings.memory, self.engine))
            self._pin()
            default = self.settings.models.default
            if default is not None:
                self._not_ready = f"The default model, {default!r}, is being loaded."
                await self.pool.load(default)
            self._not_ready = None
            _log.info("ready", device=self.engine.device, default_model=default)
            await self._preload()
        except DiffusionError as error:
            self._not_ready = error.message
            _log.error("default_model_failed", code=error.code, reason=error.message)
        except Exception:
            self._not_ready = "The engine could not start; the server's log says why."
            _log.exception("engine_failed")

    def _pin(self) -> None:
        for name in self.settings.models.pinned:
            try:
                self.pool.pin(name)
            except DiffusionError as error:
                _log.error(
                    "pin_failed", code=error.code, reason=error.message, hint="see models.pinned in the settings"
                )

    async def _preload(self) -> None:
        for name in self.settings.models.preload:
            try:
                await self.pool.load(name)
            except DiffusionError as error:
                _log.error("preload_failed", model=name, code=error.code, reason=error.message)

    async def _unload_idle(self) -> None:
        """From time to time, free what nobody has used for very long."""
        timeout_s = self.settings.memory.idle_timeout_s
        while timeout_s:
            await asyncio.sleep(min(timeout_s / 4, 30))
            await self.pool.unload_idle(timeout_s)

    async def _watch_device(self) -> None:
        """From time to time, see whether the device still moves."""
        noticed = None
        while True:
            await asyncio.sleep(min(self.settings.dispatch.stuck_after_s / 4, 10))
            self.dispatcher.check_device()
            if (reason := self.dispatcher.unresponsive_because) != noticed:
                noticed = reason
                _log.error("engine_stuck", reason=reason) if reason else _log.info("engine_recovered")

    def _log_models(self) -> None:
        specs = self.catalogue.list()
        default = self.settings.models.default
        _log.info("models", usable=[spec.name for spec in specs if spec.unusable is None])
        for spec in specs:
            if spec.unusable is not None:
                _log.warning("model_unusable", model=spec.name, reason=spec.unusable)
        if default is not None and not any(spec.name == default and spec.unusable is None for spec in specs):
            _log.warning("default_model_unusable", model=default, hint="see models.default in the settings")


def build(settings: Settings) -> Services:
    """Wire everything. Reads headers of local checkpoints, imports no torch, opens no socket."""
    cache = Path(settings.hub.cache) if settings.hub.cache is not None else None
    catalogue = ModelCatalogue(
        directories=_directories(settings),
        builtin=builtin_models(),
        overrides=settings.models.local,
        hub=settings.models.hub if settings.models.hub_enabled else (),
        hub_cache=cache,
    )
    fetcher = HubFetcher(cache=cache, offline=settings.hub.offline)
    engine = TorchEngine(
        device=settings.device.name,
        dtype=settings.models.dtype,
        threads=settings.device.threads,
        fetch=fetcher,
        read_by=settings.models.read,
        prompt_cache_nbytes=settings.memory.prompt_cache,
    )
    metrics, history = Metrics(), History()
    pool = ModelPool(
        catalogue,
        engine,
        on_event=_all_of(log_event, metrics.on_event, history.note),
        overdue_s=settings.memory.lease_warning_s,
    )
    dispatcher = Dispatcher(pool, engine, dispatch_policy(settings))
    writer = PillowImageWriter()
    generator = LocalImageGenerator(catalogue, dispatcher, writer, settings.limits, on_generated=metrics.on_generated)
    inspector = ConfigInspector(lambda source: cached_snapshot(source, cache))
    dry_runs = DryRun(catalogue, pool, dispatcher, engine, inspector, settings.limits)
    metrics.watch(pool, dispatcher)
    return Services(
        settings=settings,
        catalogue=catalogue,
        engine=engine,
        pool=pool,
        dispatcher=dispatcher,
        generator=generator,
        job_store=JobStore(generator, writer, job_policy(settings), on_ended=log_job),
        dry_runs=dry_runs,
        metrics=metrics,
        history=history,
        stop_downloads=fetcher.close,
    )


def dispatch_policy(settings: Settings) -> DispatchPolicy:
    """The rules of the line, as the settings say; 0 there means no limit."""
    limits, dispatch = settings.limits, settings.dispatch
    return DispatchPolicy(
        max_waiting=limits.max_waiting,
        max_waiting_per_client=limits.max_waiting_per_client or None,
        max_wait_s=limits.max_wait_s or None,
        aging=AgingPolicy(max_overtaken=dispatch.max_passes, max_wait_s=dispatch.patience_s),
        max_rows=dispatch.max_rows,
        stuck_after_s=dispatch.stuck_after_s,
    )


def job_policy(settings: Settings) -> JobPolicy:
    """How long finished jobs are kept, as the settings say, and as many unfinished ones as can wait and run."""
    jobs = settings.jobs
    return JobPolicy(
        max_unfinished=settings.limits.max_waiting + settings.dispatch.max_rows,
        keep_s=jobs.keep_s,
        max_finished=jobs.max_finished,
        max_result_nbytes=jobs.max_result_bytes,
    )


def _all_of(*listeners: OnPoolEvent) -> OnPoolEvent:
    def tell(event: PoolEvent) -> None:
        for listener in listeners:
            listener(event)

    return tell


def builtin_models() -> Path:
    """Where the demo models are: inside an installed wheel, or in `models/` of a checkout."""
    installed = _PACKAGE / "builtin"
    return installed if installed.is_dir() else _PACKAGE.parent / "models"


def _directories(settings: Settings) -> list[Path]:
    """The user's folder first, so that its files win over built-in ones of the same name."""
    directories = [Path(settings.models.directory)] if settings.models.directory is not None else []
    builtin = builtin_models()
    if settings.models.builtin and not any(d.resolve() == builtin.resolve() for d in directories):
        directories.append(builtin)
    return directories


def _budget(memory: MemorySettings, engine: Engine) -> Budget:
    host = _nbytes(memory.host, host_nbytes())
    if engine.shares_host_memory:
        host = max(0, host - memory.device_reserve)
        return Budget(device_nbytes=host, host_nbytes=host)
    device = _nbytes(memory.device, engine.memory_nbytes()) - memory.device_reserve
    return Budget(device_nbytes=max(0, device), host_nbytes=host)


def _nbytes(setting: float, available_nbytes: int) -> int:
    """A setting up to 1 is a fraction of what there is; a larger one counts bytes."""
    return int(setting * available_nbytes) if setting <= 1 else int(setting)
