"""The pool of a machine: what is in host memory, and the copies on all of its devices."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from ..memory.lease import Lease
from ..memory.ledger import Tier
from ..memory.pool import DevicePool
from ..memory.snapshot import AssetStatus, ComponentStatus, PoolReport, PoolStats
from ..models.assets import AssetKey
from ..models.components import OnLoad
from ..models.spec import ModelName, ModelSpec, Residency
from .devices import Devices
from .serving_device import ServingDevice


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceReport:
    """What is on one device."""

    name: str
    out_because: str | None
    """Reason for which it makes no images; None while it does."""
    report: PoolReport
    """The books from this device's point of view: what is on the others counts as being on the host."""
    depth: int
    """Jobs that it was given and that have not ended."""


class ModelPool:
    """Loads models for all devices of the machine, and tells where they are. Event loop only.

    Each device has a `DevicePool`, and all of them share what is in host memory.
    """

    def __init__(self, devices: Devices) -> None:
        self._devices = devices

    @property
    def pools(self) -> list[DevicePool]:
        """The pool of each device."""
        return [device.pool for device in self._devices]

    @asynccontextmanager
    async def lease(
        self, name: str, activation_nbytes: int = 0, on_load: OnLoad | None = None, *, beside: Sequence[AssetKey] = ()
    ) -> AsyncGenerator[Lease]:
        """Lend a model on one of the devices; see `DevicePool.lease`."""
        await self._devices.start()
        pool = self._device_of(AssetKey("model", name)).pool
        async with pool.lease(name, activation_nbytes, on_load, beside=beside) as lease:
            yield lease

    async def load(self, name: str, on_load: OnLoad | None = None, *, tier: Tier = "device") -> Residency:
        """Bring a model to a tier now: to the device that has it, or to the emptiest one. Returns where it was before."""
        await self._devices.start()
        return await self._device_of(AssetKey("model", name)).pool.load(name, on_load, tier=tier)

    async def fetch(self, name: str, on_load: OnLoad | None = None) -> ModelSpec:
        """Make sure that a model's files are on disk; see `DevicePool.fetch`."""
        await self._devices.start()
        return await self._devices.an_answering_one.pool.fetch(name, on_load)

    async def unload(self, name: str, *, wait: bool = True) -> bool:
        """Free a model's memory on the host and all devices; see `DevicePool.unload`."""
        return await self._devices.first.pool.unload(name, wait=wait)

    async def unload_asset(self, key: AssetKey, *, wait: bool = True) -> bool:
        """Free an asset's memory on the host and all devices; see `DevicePool.unload_asset`."""
        return await self._devices.first.pool.unload_asset(key, wait=wait)

    def pin(self, name: str, *, pinned: bool = True) -> None:
        """Never evict a model from the host or a device on which it is, or allow it again."""
        self._devices.first.pool.pin(name, pinned=pinned)

    async def drop_idle(self) -> int:
        """Free the memory of all devices that no lease or pin holds. Returns the bytes freed."""
        return sum([await pool.drop_idle() for pool in self.pools])

    async def unload_idle(self, idle_s: float) -> None:
        """Free the assets that no request has used for `idle_s` seconds, except pinned ones."""
        await self._devices.first.pool.unload_idle(idle_s)

    async def close(self) -> None:
        """Free everything. Call when no lease is out."""
        for pool in self.pools:
            await pool.close()

    def status(self, name: ModelName) -> AssetStatus:
        """Tell where the weights of a model are now, and which requests use them."""
        return self.asset_status(AssetKey("model", name))

    def asset_status(self, key: AssetKey) -> AssetStatus:
        """Tell where the weights of a catalogue entry are now: `device` if one device has all of them."""
        return _nearest([pool.asset_status(key) for pool in self.pools])

    def stats(self) -> PoolStats:
        """Sum up the ledgers; weights on several devices count for each."""
        return _summed([pool.report() for pool in self.pools])

    def report(self) -> PoolReport:
        """Take a snapshot of all ledgers together."""
        reports = [pool.report() for pool in self.pools]
        if len(reports) == 1:
            return reports[0]
        return PoolReport(
            device=", ".join(report.device for report in reports),
            shares_host_memory=all(report.shares_host_memory for report in reports),
            budget=replace(reports[0].budget, device_nbytes=_device_limit(reports)),
            stats=_summed(reports),
            components=tuple(_nearest_component(each) for each in zip(*(r.components for r in reports), strict=True)),
            assets=tuple(
                (key, _nearest([dict(report.assets)[key] for report in reports])) for key, _ in reports[0].assets
            ),
        )

    def devices(self) -> list[DeviceReport]:
        """Describe each device."""
        return [
            DeviceReport(
                name=device.name,
                out_because=None if device.failure is None else device.failure.message,
                report=device.pool.report(),
                depth=device.dispatcher.depth,
            )
            for device in self._devices
        ]

    def check_integrity(self) -> None:
        """Raise AssertionError if a ledger contradicts itself."""
        for pool in self.pools:
            pool.check_integrity()

    def _device_of(self, key: AssetKey) -> ServingDevice:
        """Return the device that has an asset, or the one with the least on it."""
        devices = self._devices.answering or [self._devices.first]

        def order(device: ServingDevice) -> tuple[bool, int]:
            return device.pool.residency(key) != "device", device.pool.stats().device_nbytes

        return min(devices, key=order)


def _nearest(statuses: Sequence[AssetStatus]) -> AssetStatus:
    """Take the status on the device that has the asset; all else is the same for all devices."""
    return next((status for status in statuses if status.residency == "device"), statuses[0])


def _nearest_component(statuses: Sequence[ComponentStatus]) -> ComponentStatus:
    return next((status for status in statuses if status.residency == "device"), statuses[0])


def _summed(reports: Sequence[PoolReport]) -> PoolStats:
    stats = [report.stats for report in reports]
    first = stats[0]
    shared = all(report.shares_host_memory for report in reports)
    return PoolStats(
        host_nbytes=first.host_nbytes,
        device_nbytes=first.host_nbytes if shared else sum(each.device_nbytes for each in stats),
        reserved_nbytes=sum(each.reserved_nbytes for each in stats),
        leases=sum(each.leases for each in stats),
        waiting=sum(each.waiting for each in stats),
    )


def _device_limit(reports: Sequence[PoolReport]) -> int | None:
    """Return the bytes of all devices together; those of the host if that is the same memory."""
    limits = [report.budget.device_nbytes for report in reports]
    if all(report.shares_host_memory for report in reports):
        return limits[0]
    known = [limit for limit in limits if limit is not None]
    return sum(known) if len(known) == len(limits) else None
