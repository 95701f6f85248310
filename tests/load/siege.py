"""A server under siege: polite clients, whose work must all be done, among hostile ones, and what it costs. Linux only."""

import asyncio
import itertools
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, linear_regression
from typing import Any

import httpx

from .hostile import Hostile
from .plans import Ask, siege_plan
from .soak import at_rest, own_nbytes

_ANSWER_S = 120.0
_MEMORY_EVERY_S = 2.0
_REST_S = 60.0
_WARM_UP = 0.3
"""Part of the time in which memory may still grow: caches fill, the heap finds its size."""


@dataclass(slots=True)
class SiegeReport:
    """What a siege came to."""

    seconds: float = 0.0
    images: int = 0
    """Images of polite clients, equal to those made before the siege."""
    kinds: set[str] = field(default_factory=set[str])
    """Requests of `plans.siege_plan` that they are of."""
    jobs: int = 0
    """Jobs of polite clients that were accepted, and done."""
    refused: Counter[str] = field(default_factory=Counter[str])
    """Codes of refusals that polite clients were told to come back after, as they did."""
    wrong: list[str] = field(default_factory=list[str])
    acts: Counter[str] = field(default_factory=Counter[str])
    """What hostile clients did."""
    health_s: list[float] = field(default_factory=list[float])
    machine_s: list[float] = field(default_factory=list[float])
    """Seconds of the same checks of an idle server."""
    health_failures: int = 0
    memory: list[tuple[float, int]] = field(default_factory=list[tuple[float, int]])
    """Seconds since the start, and bytes of the server's own memory."""
    leases: int = 0

    @property
    def settled(self) -> Sequence[tuple[float, int]]:
        """Samples of memory after the warm-up."""
        return [sample for sample in self.memory if sample[0] >= _WARM_UP * self.seconds]

    @property
    def slope_nbytes_per_hour(self) -> float:
        """Growth of memory after the warm-up, by a line through all samples."""
        seconds, nbytes = zip(*self.settled, strict=True)
        return linear_regression(seconds, nbytes).slope * 3600

    @property
    def growth(self) -> float:
        """Growth from the first to the last third of the samples after the warm-up, as a share."""
        nbytes = [each for _, each in self.settled]
        third = max(1, len(nbytes) // 3)
        return fmean(nbytes[-third:]) / fmean(nbytes[:third]) - 1


class Siege:
    """Polite clients, hostile clients, a health check four times a second, and a look at memory."""

    def __init__(
        self, url: str, port: int, pid: int, *, on_progress: Callable[[str], None] = lambda _doing: None
    ) -> None:
        """Know the server.

        Args:
            url: of the server.
            port: of the server.
            pid: of its process.
            on_progress: receives a line of text every few seconds.
        """
        self._url = url
        self._port = port
        self._pid = pid
        self._hostile = Hostile(port)
        self._on_progress = on_progress
        self._report = SiegeReport()
        self._begun = 0.0
        self._end = 0.0
        self._asks = siege_plan(seed=0)
        self._alone: dict[str, str] = {}
        """The image of each request before the siege, in base64."""

    async def run(self, seconds: float, *, polite: int, scale: int) -> SiegeReport:
        """Besiege the server.

        Args:
            seconds: for which new requests are sent.
            polite: clients of each polite kind.
            scale: multiplies the number of hostile clients.
        """
        report = self._report
        async with httpx.AsyncClient(base_url=self._url, timeout=_ANSWER_S) as http:
            for ask in self._asks:
                answer = await http.post(ask.path, json=ask.body)
                self._alone[ask.key] = _image_of(answer.raise_for_status().json())
            self._begun = time.monotonic()
            self._end = self._begun + seconds
            hostile = [asyncio.ensure_future(client) for client in self._hostile.all(scale)]
            watching = [asyncio.ensure_future(self._watch_health()), asyncio.ensure_future(self._watch_memory())]
            await asyncio.gather(*(self._polite(number) for number in range(polite)))
            for task in (*hostile, *watching):
                task.cancel()
            await asyncio.wait([*hostile, *watching])
            report.seconds = time.monotonic() - self._begun
            report.acts = self._hostile.acts
            await self._come_to_rest(http)
        return report

    async def _polite(self, number: int) -> None:
        """Ask for images and send jobs by turns, from an address of one's own; come back when told to."""
        # A new connection each time: an idle one may be closed for others at the moment at which a request is sent on it.
        limits = httpx.Limits(max_keepalive_connections=0)
        transport = httpx.AsyncHTTPTransport(local_address=f"127.0.2.{number + 1}", limits=limits)
        async with httpx.AsyncClient(base_url=self._url, timeout=_ANSWER_S, transport=transport) as http:
            for turn in itertools.count(number):
                if time.monotonic() >= self._end:
                    return
                round_, place = divmod(turn, len(self._asks))
                ask = self._asks[place]
                as_job = (place + round_) % 2 == 0 and not ask.upscales
                if (image := await self._job(http, ask) if as_job else await self._image(http, ask)) is None:
                    continue
                if image == self._alone[ask.key]:
                    self._report.images += 1
                    self._report.kinds.add(ask.key)
                else:
                    self._report.wrong.append(f"{ask}: another image than before the siege")

    async def _image(self, http: httpx.AsyncClient, ask: Ask) -> str | None:
        answer = await self._send(http, ask.path, ask.body)
        return None if answer is None else _image_of(answer)

    async def _job(self, http: httpx.AsyncClient, ask: Ask) -> str | None:
        """Send a job, which must end, and end well, once it is accepted."""
        job = await self._send(http, f"/jobs/{ask.model}", ask.body)
        if job is None:
            return None
        deadline = time.monotonic() + _ANSWER_S
        while time.monotonic() < deadline:
            answer = await http.get(job["url"])
            if answer.status_code != 200:
                self._report.wrong.append(f"lost job: {answer.status_code} {answer.text[:200]}")
                return None
            found = answer.json()
            if found["state"] == "done":
                self._report.jobs += 1
                return _image_of(found["result"])
            if found["state"] in ("failed", "cancelled"):
                self._report.wrong.append(f"job {found['state']}: {found['problem']}")
                return None
            await asyncio.sleep(0.1)
        self._report.wrong.append("a job did not end")
        return None

    async def _send(self, http: httpx.AsyncClient, path: str, body: Mapping[str, Any]) -> Any:
        try:
            answer = await http.post(path, json=body)
        except httpx.HTTPError as error:
            self._report.wrong.append(f"{path}: {error!r}")
            return None
        if answer.status_code in (200, 202):
            return answer.json()
        if answer.status_code in (429, 503) and "retry-after" in answer.headers:
            self._report.refused[answer.json()["code"]] += 1
            await asyncio.sleep(min(float(answer.headers["retry-after"]), 2))
        else:
            self._report.wrong.append(f"{path}: {answer.status_code} {answer.text[:200]}")
        return None

    async def _watch_health(self) -> None:
        """Take over what a process of its own finds, which no work of this one delays."""
        report = self._report
        root = Path(__file__).parents[2]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.load.health", str(self._port), cwd=root, stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        try:
            async for line in process.stdout:
                told, machine = line.decode().split()
                report.machine_s.append(float(machine))
                try:
                    report.health_s.append(float(told))
                except ValueError:
                    report.health_failures += 1
                    report.wrong.append(f"health: {told}")
        finally:
            process.kill()
            await process.wait()

    async def _watch_memory(self) -> None:
        while True:
            elapsed = time.monotonic() - self._begun
            nbytes = own_nbytes(self._pid)
            self._report.memory.append((elapsed, nbytes))
            self._on_progress(
                f"{elapsed:.0f} s, {self._report.images} images, {nbytes / 1e6:.0f} MB, {len(self._report.wrong)} wrong"
            )
            await asyncio.sleep(_MEMORY_EVERY_S)

    async def _come_to_rest(self, http: httpx.AsyncClient) -> None:
        for job in (await http.get("/jobs")).json():
            if job["state"] not in ("done", "failed", "cancelled"):
                await http.delete(job["url"])
        deadline = time.monotonic() + _REST_S
        while (pool := await at_rest(http))["leases"] or pool["waiting"]:
            if time.monotonic() > deadline:
                self._report.wrong.append(f"{pool['leases']} leases, {pool['waiting']} requests left")
                break
            await asyncio.sleep(0.05)
        self._report.leases = pool["leases"]


def _image_of(answer: dict[str, Any]) -> str:
    return answer["images"][0]["image"]


def percentile(seconds: Sequence[float], part: float) -> float:
    """Return the value below which this part of the values is."""
    return sorted(seconds)[int(part * (len(seconds) - 1))] if seconds else float("inf")
