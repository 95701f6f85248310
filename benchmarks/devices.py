"""Images a second against the number of devices. `uv run python benchmarks/devices.py`; `--real` for CPU devices of this machine.

Simulated devices of 24 GB with one host tier, SDXL models of 7 GB, and users who each send a request as soon as the one before it
has ended. Which device makes which image is decided by `decide`, the server's own policy. Compared with it: one server with a
pool of its own for each device, behind a balancer that sends a request to the server with the fewest.
"""

import argparse
import asyncio
import heapq
import random
import resource
import sys
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count as counting
from pathlib import Path
from statistics import mean

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.arguments import count
from litestar_diffusion.bootstrap import build
from litestar_diffusion.domain.dispatch.lanes import Lane
from litestar_diffusion.domain.models.spec import ModelName
from litestar_diffusion.domain.placement.policy import DeviceLoad, Waiting, decide
from litestar_diffusion.domain.requests.parameters import GenerationParameters
from litestar_diffusion.settings import DeviceSettings, JobsSettings, ModelsSettings, Settings

_GB = 10**9
MODEL_NBYTES = 7 * _GB
DEVICE_NBYTES = 22 * _GB
"""Of 24 GB, without activations: three models."""
DISK_NBYTES_PER_S = 2 * _GB
BUS_NBYTES_PER_S = 20 * _GB
_MAX_OVERTAKEN = 8
"""Later requests for each device that may run before one."""
_SECONDS = (1.5, 3.0, 6.0)
"""Seconds that a device takes for a request: few steps, usual, large."""
_SIDES = (512, 768, 1024)


@dataclass(frozen=True, slots=True)
class Request:
    """One request of a trace."""

    model: int
    size: int
    """Index of its seconds and its side."""

    @property
    def run_s(self) -> float:
        """Seconds that it takes a device."""
        return _SECONDS[self.size]


Trace = Callable[[random.Random, int], Iterator[Request]]
"""The requests of one user: a generator of numbers, and the number of models."""


def zipf(rng: random.Random, models: int) -> Iterator[Request]:
    """Independent requests; the k-th most popular model is asked for 1/k as often as the first."""
    weights = [1 / (rank + 1) for rank in range(models)]
    for size in _sizes(rng):
        yield Request(rng.choices(range(models), weights)[0], size)


def bursty(rng: random.Random, models: int) -> Iterator[Request]:
    """A user stays with a model for a while, then takes another one."""
    sizes = _sizes(rng)
    while True:
        model = rng.randrange(models)
        for _ in range(rng.randint(3, 12)):
            yield Request(model, next(sizes))


def _sizes(rng: random.Random) -> Iterator[int]:
    """All sizes equally often, so that images a second of short traces can be compared."""
    while True:
        yield from rng.sample(range(len(_SECONDS)), len(_SECONDS))


@dataclass(slots=True, eq=False)
class _Sent:
    key: str
    user: int
    request: Request
    overtaken: int = 0
    overdue: bool = False

    @property
    def lane(self) -> Lane:
        side = _SIDES[self.request.size]
        return Lane(ModelName(str(self.request.model)), side, side)


@dataclass(slots=True, eq=False)
class Device:
    """A device that holds some models and runs one request at a time."""

    name: str
    host: "Host"
    resident: OrderedDict[int, float] = field(default_factory=OrderedDict[int, float])
    """Models there, the least recently used first, and when they have come."""
    given: list[_Sent] = field(default_factory=list[_Sent])
    running: _Sent | None = None
    ends_s: float = 0.0
    bus_free_s: float = 0.0
    moved_nbytes: int = 0

    def bring(self, now: float) -> None:
        """Begin to bring the models of what was given, as far as there is room beside those that are needed before."""
        for sent in self.given:
            model = sent.request.model
            if model in self.resident:
                continue
            needed = {other.request.model for other in self.given}
            while len(self.resident) >= DEVICE_NBYTES // MODEL_NBYTES:
                victim = next((one for one in self.resident if one not in needed), None)
                if victim is None:
                    return
                del self.resident[victim]
            begins = max(now, self.bus_free_s, self.host.arrives_s(model, now))
            self.resident[model] = self.bus_free_s = begins + MODEL_NBYTES / BUS_NBYTES_PER_S
            self.moved_nbytes += MODEL_NBYTES

    def begin(self, now: float) -> float | None:
        """Begin the first request whose model is there; return when the device has to be looked at again."""
        self.bring(now)
        if self.running is not None or not self.given:
            return None
        ready = next((sent for sent in self.given if self.resident.get(sent.request.model, 1e9) <= now), None)
        if ready is None:
            return min(self.resident.get(sent.request.model, 1e9) for sent in self.given)
        self.resident.move_to_end(ready.request.model)
        self.running, self.ends_s = ready, now + ready.request.run_s
        return self.ends_s

    def load(self, now: float, asked: Collection[int]) -> DeviceLoad:
        """Describe itself for the policy, which looks at the models that are asked for."""
        left = max(0.0, self.ends_s - now) if self.running is not None else 0.0
        waiting = [sent for sent in self.given if sent is not self.running]
        return DeviceLoad(
            name=self.name,
            busy_s=left + sum(sent.request.run_s for sent in waiting),
            given=[_waiting(sent) for sent in self.given],
            pending=[sent.key for sent in waiting],
            bring_s={ModelName(str(model)): self._bring_s(model, now) for model in asked},
        )

    def _bring_s(self, model: int, now: float) -> float:
        if model in self.resident:
            return max(0.0, self.resident[model] - now)
        return self.host.bring_s(model) + MODEL_NBYTES / BUS_NBYTES_PER_S


@dataclass(slots=True)
class Host:
    """The memory from which devices get models; what does not fit is read from the disk again."""

    models: int
    """How many fit."""
    resident: OrderedDict[int, float] = field(default_factory=OrderedDict[int, float])
    disk_free_s: float = 0.0
    read_nbytes: int = 0

    def bring_s(self, model: int) -> float:
        """Seconds to read a model from the disk."""
        return 0.0 if model in self.resident else MODEL_NBYTES / DISK_NBYTES_PER_S

    def arrives_s(self, model: int, now: float) -> float:
        """Read a model unless it is there; return when it is."""
        if model not in self.resident:
            while len(self.resident) >= self.models:
                self.resident.popitem(last=False)
            self.disk_free_s = max(now, self.disk_free_s) + MODEL_NBYTES / DISK_NBYTES_PER_S
            self.resident[model] = self.disk_free_s
            self.read_nbytes += MODEL_NBYTES
        self.resident.move_to_end(model)
        return self.resident[model]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a machine made of the requests of its users."""

    images_per_s: float
    busy: float
    """Part of the time in which devices worked."""
    found: float
    """Share of the requests that found their model on the device."""
    read_gb: float
    """From the disk."""
    moved_gb: float
    """From the host to devices."""
    longest_wait_s: float


class Machine:
    """Devices with one line before them, and one host tier."""

    def __init__(self, devices: int, host_models: int, *, apart: bool = False) -> None:
        """Make idle devices.

        Args:
            devices: their number.
            host_models: models that the host's memory holds.
            apart: whether each device has its own part of that memory, and a request goes to the one with the fewest at once.
        """
        shared = Host(host_models)
        self.devices = [
            Device(f"cuda:{number}", Host(max(1, host_models // devices)) if apart else shared)
            for number in range(devices)
        ]
        self._apart = apart
        self._line: list[_Sent] = []

    def read_before(self, models: Sequence[int]) -> None:
        """Have models in the host's memory, the last one as the least recently used."""
        for host in {id(device.host): device.host for device in self.devices}.values():
            host.resident = OrderedDict.fromkeys(reversed(models), 0.0)

    def run(self, users: Sequence[Iterator[Request]], requests: int) -> Outcome:
        """Serve users until so many requests have ended."""
        keys, events = counting(), list[tuple[float, int]]()
        sent_at, waits = dict[str, float](), deque[float]()
        ended, worked_s, now = 0, 0.0, 0.0

        def send(user: int) -> None:
            sent = _Sent(str(next(keys)), user, next(users[user]))
            sent_at[sent.key] = now
            self._line.append(sent)

        for user in range(len(users)):
            send(user)
        while ended < requests:
            self._give(now)
            for number, device in enumerate(self.devices):
                idle = device.running is None
                again = device.begin(now)
                if device.running is not None and idle:
                    waits.append(now - sent_at.pop(device.running.key))
                if again is not None and (again, number) not in events:
                    heapq.heappush(events, (again, number))
            now, number = heapq.heappop(events)
            device = self.devices[number]
            if device.running is not None and device.ends_s <= now:
                done, device.running = device.running, None
                device.given.remove(done)
                ended, worked_s = ended + 1, worked_s + done.request.run_s
                send(done.user)
        hosts = {id(device.host): device.host for device in self.devices}.values()
        return Outcome(
            images_per_s=ended / now,
            busy=worked_s / now / len(self.devices),
            found=max(0.0, 1 - sum(device.moved_nbytes for device in self.devices) / MODEL_NBYTES / ended),
            read_gb=sum(host.read_nbytes for host in hosts) / _GB,
            moved_gb=sum(device.moved_nbytes for device in self.devices) / _GB,
            longest_wait_s=max(waits),
        )

    def _give(self, now: float) -> None:
        if self._apart:
            for sent in self._line:
                min(self.devices, key=lambda device: len(device.given)).given.append(sent)
            self._line.clear()
            return
        named = {device.name: device for device in self.devices}
        while placed := decide([_waiting(sent) for sent in self._line], self._loads(now), lambda _lane: 1):
            for place in placed:
                self._take(place.key, named[place.device])
                self._note_overtaken(int(place.key))

    def _note_overtaken(self, number: int) -> None:
        for sent in self._line:
            sent.overtaken += int(sent.key) < number
            sent.overdue = sent.overtaken >= _MAX_OVERTAKEN * len(self.devices)

    def _loads(self, now: float) -> list[DeviceLoad]:
        asked = {sent.request.model for sent in self._line}
        asked |= {sent.request.model for device in self.devices for sent in device.given}
        return [device.load(now, asked) for device in self.devices]

    def _take(self, key: str, to: Device) -> None:
        for place in (self._line, *(device.given for device in self.devices)):
            for sent in place:
                if sent.key == key:
                    place.remove(sent)
                    to.given.append(sent)
                    return


def _waiting(sent: _Sent) -> Waiting:
    return Waiting(key=sent.key, lane=sent.lane, rows=1, run_s=sent.request.run_s, overdue=sent.overdue)


def simulated(
    trace: Trace,
    devices: int,
    *,
    models: int,
    seed: int,
    requests: int = 400,
    users: int = 6,
    apart: bool = False,
    host_nbytes: int | None = None,
) -> Outcome:
    """Serve `users` users a device on a simulated machine.

    Args:
        trace: what a user asks for.
        devices: their number.
        models: their number.
        seed: of the trace.
        requests: number of requests for each device.
        users: number of users for each device.
        apart: whether each device has a server of its own.
        host_nbytes: memory for models, which begins with the most popular ones; enough for all, and empty, by default.
    """
    asking = [trace(random.Random(f"{seed} {user}"), models) for user in range(users * devices)]
    fit = models if host_nbytes is None else min(models, host_nbytes // MODEL_NBYTES)
    machine = Machine(devices, fit, apart=apart)
    if host_nbytes is not None:
        machine.read_before(range(fit))
    return machine.run(asking, requests * devices)


def main() -> None:
    """Simulate, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=count, default=3, help="traces of each kind (default: 3)")
    parser.add_argument("--requests", type=count, default=400, help="requests for each device (default: 400)")
    parser.add_argument("--models", type=count, default=10, help="models of 7 GB (default: 10)")
    parser.add_argument(
        "--real", type=count, help="CPU devices of this machine, one core each, instead of simulated ones"
    )
    parser.add_argument("--counts", action="store_true", help="10, 100 and 1,000 models, by memory, instead")
    options = parser.parse_args()
    if options.counts:
        _count(options)
        return
    if options.real is not None:
        asyncio.run(_measure(options.real))
        return
    for name, trace in (("zipf", zipf), ("bursty", bursty)):
        _compare(name, trace, options)


async def _measure(most: int) -> None:
    """Make the same images on one CPU device and on several, and compare them."""
    table = Table(
        "devices", "images/s", "of linear", "weights in RAM", "process", "images", title="demo, 256 x 256, 12 steps"
    )
    alone, expected = 0.0, list[bytes]()
    for devices in range(1, most + 1):
        made, seconds, weights_nbytes = await _made(("cpu",) * devices)
        rate = len(made) / seconds
        alone, expected = alone or rate, expected or made
        table.add_row(
            str(devices),
            f"{rate:.2f}",
            f"{rate / alone / devices:.0%}",
            f"{weights_nbytes / 1e6:.1f} MB",
            f"{_resident_nbytes() / 1e6:.0f} MB",
            "equal" if made == expected else "differ",
        )
    Console().print(table)


def _resident_nbytes() -> int:
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * resource.getpagesize()


async def _made(names: tuple[str, ...]) -> tuple[list[bytes], float, int]:
    """Return images, the seconds that they took, and the bytes of weights in host memory."""
    settings = Settings(
        device=DeviceSettings(names=names, threads=1),
        models=ModelsSettings(hub_enabled=False, directory=None),
        jobs=JobsSettings(directory=""),
    )
    services = build(settings)
    async with services.running():
        await services.devices.start()

        async def image(seed: int) -> bytes:
            parameters = GenerationParameters(
                prompt="a red circle", seed=seed, width=256, height=256, num_inference_steps=12, reproducible=True
            )
            return (await services.generator.generate("demo", parameters)).images[0].data

        await asyncio.gather(*(image(seed) for seed in range(4)))  # networks are built, speeds are known
        begun = time.perf_counter()
        made = await asyncio.gather(*(image(seed) for seed in range(24)))
        return list(made), time.perf_counter() - begun, services.pool.stats().host_nbytes


def _count(options: argparse.Namespace) -> None:
    """Tell what memory for models gives, by number of models."""
    columns = ("models", "GPUs", "RAM for models", "found on the GPU", "in RAM", "read", "images/s", "GPUs busy")
    table = Table(*columns, title=f"zipf, {options.requests} requests for each GPU")
    for models in (10, 100, 1000):
        for devices in (1, 8):
            for host_gb in (64, 128, 256, 512, 1024, 2048):
                table.add_row(
                    f"{models:,}", str(devices), f"{host_gb} GB", *_counted(models, devices, host_gb, options)
                )
                if host_gb * _GB >= models * MODEL_NBYTES:
                    break
    Console().print(table)


def _counted(models: int, devices: int, host_gb: int, options: argparse.Namespace) -> tuple[str, ...]:
    ways = [
        simulated(zipf, devices, models=models, seed=seed, requests=options.requests, host_nbytes=host_gb * _GB)
        for seed in range(options.seeds)
    ]
    read = mean(made.read_gb for made in ways) * _GB / MODEL_NBYTES / (options.requests * devices)
    found = mean(made.found for made in ways)
    rate, busy = mean(made.images_per_s for made in ways), mean(made.busy for made in ways)
    return f"{found:.0%}", f"{1 - found - read:.0%}", f"{read:.0%}", f"{rate:.2f}", f"{busy:.0%}"


def _compare(name: str, trace: Trace, options: argparse.Namespace) -> None:
    columns = ("devices", "images/s", "of linear", "busy", "read GB", "moved GB", "longest wait")
    table = Table(
        *columns, "apart: img/s", "read GB", "moved GB", "longest wait", title=f"{name}, {options.models} models"
    )
    alone = 0.0
    for devices in (1, 2, 3, 4, 6, 8):
        one, apart = (
            [
                simulated(trace, devices, models=options.models, seed=seed, requests=options.requests, apart=each)
                for seed in range(options.seeds)
            ]
            for each in (False, True)
        )
        rate = mean(each.images_per_s for each in one)
        alone = alone or rate
        table.add_row(
            str(devices),
            f"{rate:.3f}",
            f"{rate / alone / devices:.1%}",
            f"{mean(each.busy for each in one):.1%}",
            f"{mean(each.read_gb for each in one):.0f}",
            f"{mean(each.moved_gb for each in one):.0f}",
            f"{max(each.longest_wait_s for each in one):.1f} s",
            f"{mean(each.images_per_s for each in apart):.3f}",
            f"{mean(each.read_gb for each in apart):.0f}",
            f"{mean(each.moved_gb for each in apart):.0f}",
            f"{max(each.longest_wait_s for each in apart):.1f} s",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
