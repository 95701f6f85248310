"""Life cycle of the services: start in the background, watch, drain."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from .domain.access.quotas import Quotas
from .domain.dry_run import DryRuns
from .domain.engine import Device, Machine
from .domain.errors import DeviceLost, DiffusionError, EngineFailed
from .domain.generator import ImageGenerator
from .domain.jobs.job_keeper import JobKeeper
from .domain.jobs.job_store import JobStore
from .domain.jobs.shared_calls import SharedCalls
from .domain.jobs.webhooks.deliverer import WebhookDeliverer
from .domain.jobs.webhooks.webhook import WebhookPolicy
from .domain.memory.budget import Budget
from .domain.memory.budget_shares import BudgetShares, Claim, Grants, Memory, Share
from .domain.memory.event_history import History
from .domain.models.catalogue import Catalogue, Catalogues
from .domain.models.embeddings import EmbeddingCatalogue
from .domain.placement.devices import Devices
from .domain.placement.dispatcher import MachineDispatcher
from .domain.placement.model_pool import ModelPool
from .domain.requests.metadata.generation_data import EmbeddedTexts
from .domain.requests.pictures.thumbnail import Thumbnail
from .domain.upscaling import ImageUpscaler, Upscaled
from .infra.device.host_memory import host_nbytes
from .infra.telemetry.metrics.metrics import Metrics
from .logs import get_logger
from .settings import MemorySettings, Settings

_log = get_logger(__name__)

_HOST: Memory = "host"
_DIVIDED = "state memory.host and memory.device in the settings of each instance to divide otherwise"
_FIRST_RETRY_S = 10.0
"""The pool refuses an asset that has just failed for 5 seconds, so an earlier attempt would read nothing."""
_LONGEST_RETRY_S = 60.0
_STARTING = "The engine is starting: torch is being imported."
_SHUTTING_DOWN = "The server is shutting down."


@dataclass(slots=True, kw_only=True)
class Services:
    """Everything that an application needs, wired. Made for one lifespan: `running` can be entered once."""

    settings: Settings
    loads_models: bool = True
    """Whether this process has models in memory; if not, others do."""
    catalogues: Catalogues
    machine: Machine
    devices: Devices
    pool: ModelPool
    dispatcher: MachineDispatcher
    generator: ImageGenerator
    upscaler: ImageUpscaler
    upscale_calls: SharedCalls[Upscaled]
    job_store: JobStore
    job_keeper: JobKeeper
    webhook_policy: WebhookPolicy
    webhooks: WebhookDeliverer | None = None
    """None if the settings allow no addresses."""
    dry_runs: DryRuns
    embedded_texts: EmbeddedTexts
    thumbnail: Thumbnail
    embeddings: EmbeddingCatalogue
    metrics: Metrics = field(default_factory=Metrics)
    history: History = field(default_factory=History)
    quotas: Quotas = field(default_factory=lambda: Quotas({}))
    budget_shares: BudgetShares = field(default_factory=BudgetShares)
    """Shared by all services of the process that use the same memory."""
    stop_downloads: Callable[[], None] = lambda: None
    free_device: Callable[[], None] = lambda: None
    """Lets other processes have the device."""
    on_engine_started: Callable[[], None] = lambda: None
    """Hook that is called once torch is imported."""
    _starting: str | None = _STARTING
    _failed: str | None = None
    _share: Share | None = None
    _entered: bool = False
    _ending: bool = False

    @property
    def catalogue(self) -> Catalogue:
        """The models."""
        return self.catalogues.models

    @property
    def device_names(self) -> str:
        """Names of the devices, separated by commas."""
        return ", ".join(device.name for device in self.devices)

    def not_ready_because(self) -> str | None:
        """Return why a request would have to wait now; None once the engine runs and the default model is loaded."""
        if self._ending:
            return _SHUTTING_DOWN
        return self._failed or self._starting or self.dispatcher.unresponsive_because

    @property
    def failed(self) -> bool:
        """Whether requests will not be served until the process is restarted."""
        return self._failed is not None or self.lost_because is not None

    @property
    def lost_because(self) -> str | None:
        """Why only another process can use the device, or any of the devices; None while this one may."""
        lost = [device.failure.message for device in self.devices if isinstance(device.failure, DeviceLost)]
        return lost[0] if len(lost) == len(self.devices) else None

    @property
    def ending(self) -> bool:
        """Whether new work is refused, because the lifespan is about to end."""
        return self._ending

    @property
    def has_jobs(self) -> bool:
        """Whether jobs are unfinished for which no client waits on a connection."""
        return any(job.detached and not job.over for job in self.job_store.in_flight)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Start in the background, so that health is answered at once; at the end, finish or stop what runs.

        Raises:
            RuntimeError: it was entered before.
            StorageUnavailable: jobs cannot be kept where the settings say.
        """
        if self._entered:
            raise RuntimeError("These services have been used by a lifespan before. Build new ones for each lifespan.")
        self._entered = True
        async with AsyncExitStack() as ending:  # in reverse order, and each of them if one before it fails
            ending.callback(self._leave_memory)
            ending.callback(self.free_device)
            ending.push_async_callback(self.machine.stop)
            ending.push_async_callback(self.pool.close)
            ending.push_async_callback(self.job_store.close)
            await self.job_store.open()
            ending.push_async_callback(_cancel, self._background_tasks())
            ending.push_async_callback(self.end)
            yield

    async def end(self) -> None:
        """Refuse new requests, end those that wait, give the running one its grace, then stop it. May be called twice."""
        self._ending = True
        self.dispatcher.close()
        self.stop_downloads()
        await self.dispatcher.drain(self.settings.server.shutdown_grace_s)

    def hurry(self) -> None:
        """Have `end` wait for no image any longer."""
        self.dispatcher.close()
        self.dispatcher.stop_running()

    def _background_tasks(self) -> "list[asyncio.Task[None]]":
        return [
            self._supervised(self._start(), "start engine"),
            self._supervised(self._log_models(), "log models"),
            self._supervised(self._unload_idle(), "unload idle models"),
            self._supervised(self._watch_device(), "watch the device"),
            *([self._supervised(self.job_keeper.run(), "keep jobs")] if self.job_store.repository.durable else []),
            *([self._supervised(self.webhooks.run(), "deliver webhooks")] if self.webhooks is not None else []),
        ]

    def _supervised(self, work: Coroutine[Any, Any, None], name: str) -> "asyncio.Task[None]":
        """Run in the background; a failure is logged and ends readiness, so that a load balancer or a person notices it."""
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._note_failure)
        return task

    def _note_failure(self, task: "asyncio.Task[None]") -> None:
        if task.cancelled() or (failure := task.exception()) is None:
            return
        self._failed = f"The task {task.get_name()!r} has failed; the server's log says why. Restart the server."
        _log.error("background_task_failed", task=task.get_name(), exc_info=failure)

    async def _start(self) -> None:
        try:
            await self.devices.start()
            self._log_failed_devices()
            self.on_engine_started()
            if not self.loads_models:
                self._starting = None
                return
            self._join_memory()
            await self._pin()
            ready = await self._load_default()
            await self._preload()
            for wait_s in _retry_after_s():
                if ready:
                    return
                await asyncio.sleep(wait_s)
                ready = await self._load_default()
        except EngineFailed as error:
            self._failed = error.message
            _log.error("engine_failed", reason=error.message, exc_info=error.__cause__)
        except Exception:
            self._starting = "The engine could not start; the server's log says why."
            _log.exception("engine_failed")

    async def _load_default(self) -> bool:
        """Load the default model, if there is one. Returns whether the server is ready; `not_ready_because` tells the failure.

        Raises:
            EngineFailed: there is no device to load it for.
        """
        default = self.settings.models.default
        if default is not None:
            if self._starting == _STARTING:
                self._starting = f"The default model, {default!r}, is being loaded."
            try:
                await self._load(default)
            except EngineFailed:
                raise
            except DiffusionError as error:
                self._starting = error.message
                _log.error("default_model_failed", code=error.code, reason=error.message)
                return False
        self._starting = None
        _log.info("ready", device=self.device_names, default_model=default)
        return True

    def _log_failed_devices(self) -> None:
        for device in self.devices:
            if (failure := device.engine.failure) is not None:
                _log.error("device_failed", device=device.name, reason=failure.message, exc_info=failure.__cause__)

    def _claimed_devices(self) -> list[Device]:
        return [device.engine.device for device in self.devices if device.engine.failure is None]

    def _join_memory(self) -> None:
        """Take a part of the memory; it changes when other services of the process start and end."""
        loop = asyncio.get_running_loop()
        claims = _claims(self.settings.memory, self._claimed_devices())
        self._share = self.budget_shares.join(claims, lambda granted: loop.call_soon_threadsafe(self._use, granted))
        self._use(self._share.granted)

    def _use(self, granted: Grants) -> None:
        changed = False
        for device in self.devices:
            budget = _budget(granted, device.engine.device)
            if device.failure is None and budget != device.pool.report().budget:
                device.pool.set_budget(budget)
                changed = True
        if not changed:
            return
        if (pools := self.budget_shares.pools_of(_HOST)) > 1:
            _log.warning("memory_divided", pools=pools, nbytes=dict(granted), hint=_DIVIDED)

    def _leave_memory(self) -> None:
        if self._share is not None:
            self.budget_shares.leave(self._share)

    async def _load(self, name: str) -> None:
        await self.catalogue.find(name)
        await self.pool.load(name)

    async def _pin(self) -> None:
        for name in self.settings.models.pinned:
            try:
                await self.catalogue.find(name)
                self.pool.pin(name)
            except DiffusionError as error:
                _log.error(
                    "pin_failed", code=error.code, reason=error.message, hint="see models.pinned in the settings"
                )

    async def _preload(self) -> None:
        for name in self.settings.models.preload:
            try:
                await self._load(name)
            except DiffusionError as error:
                _log.error("preload_failed", model=name, code=error.code, reason=error.message)

    async def _log_models(self) -> None:
        """Log which models there are, once all their headers are read."""
        specs = await self.catalogue.refresh()
        default = self.settings.models.default
        usable = [spec for spec in specs if spec.unusable is None]
        later = [spec.name for spec in usable if not spec.on_disk]
        _log.info("models", usable=[spec.name for spec in usable], not_downloaded=later)
        for spec in specs:
            if spec.unusable is not None:
                _log.warning("model_unusable", model=spec.name, reason=spec.unusable)
        usable = {name for spec in specs if spec.unusable is None for name in (spec.name, *spec.aliases)}
        await self._log_additions()
        if default is not None and default not in usable:
            _log.warning("default_model_unusable", model=default, hint="see models.default in the settings")

    async def _log_additions(self) -> None:
        """Log which adapters and VAEs there are, if there are any, and those that cannot be used."""
        for kind, specs in (
            ("adapter", await self.catalogues.adapters.refresh()),
            ("vae", await self.catalogues.vaes.refresh()),
        ):
            if specs:
                _log.info(f"{kind}s", usable=[spec.name for spec in specs if spec.unusable is None])
            for spec in specs:
                if spec.unusable is not None:
                    _log.warning(f"{kind}_unusable", reason=spec.unusable, **{kind: spec.name})

    async def _unload_idle(self) -> None:
        """Free, a few times in each period, models that no request has used for `memory.idle_timeout_s` seconds."""
        timeout_s = self.settings.memory.idle_timeout_s
        while timeout_s:
            await asyncio.sleep(min(timeout_s / 4, 30))
            await self.pool.unload_idle(timeout_s)

    async def _watch_device(self) -> None:
        """Check every few seconds that the device still finishes steps."""
        noticed = dict[str, DiffusionError | None]()
        while True:
            await asyncio.sleep(min(self.settings.dispatch.stuck_after_s / 4, 10))
            self.dispatcher.check_devices()
            silent = {device.name: device.dispatcher.unresponsive for device in self.devices}
            for name, error in silent.items():
                if error is not noticed.get(name):
                    facts = {"device": name} if len(self.devices) > 1 else {}
                    if error is not None:
                        _log.error(error.code, reason=error.message, **facts)
                    else:
                        _log.info("engine_recovered", **facts)
            noticed = silent


def _retry_after_s() -> Iterator[float]:
    """Seconds before each further attempt to load the default model: 10, 20, 40, then a minute each."""
    return (min(_FIRST_RETRY_S * 2**attempt, _LONGEST_RETRY_S) for attempt in count())


async def _cancel(tasks: "list[asyncio.Task[None]]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


def _claims(memory: MemorySettings, devices: Sequence[Device]) -> dict[Memory, Claim]:
    """Return the budgets that the settings state, that of each device; those that equal the defaults may be divided."""
    default = MemorySettings()
    host, host_stated = _nbytes(memory.host, host_nbytes()), memory.host != default.host
    if any(device.shares_host_memory for device in devices):
        host = max(0, host - memory.device_reserve)
    claims = {_HOST: Claim(nbytes=host, stated=host_stated)}
    for device in devices:
        if not device.shares_host_memory:
            nbytes = _nbytes(memory.device, device.memory_nbytes()) - memory.device_reserve
            claims[device.name] = Claim(nbytes=max(0, nbytes), stated=memory.device != default.device)
    return claims


def _budget(granted: Grants, device: Device) -> Budget:
    host = granted[_HOST]
    return Budget(device_nbytes=granted.get(device.name, host), host_nbytes=host)


def _nbytes(setting: float, available_nbytes: int) -> int:
    """Return bytes for a setting, which up to 1 is a fraction of the available bytes, and above counts bytes."""
    return int(setting * available_nbytes) if setting <= 1 else int(setting)
