"""A soak of one server: a storm of requests while its ledger is audited, and its memory before and after. Linux only."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from .clients import Clients, Tally
from .models import BUDGET_NBYTES
from .plans import Ask

FACTORY = "tests.load.faulty_app:create_app"
GROWTH = 0.05
"""Share by which the server's own memory may grow from the end of the warm-up to the end."""
_WARM_UP = 0.2
_REST_S = 60.0
_AUDIT_S = 0.2


@dataclass(slots=True)
class SoakReport:
    """What a soak came to."""

    requests: int
    tally: Tally = field(default_factory=Tally)
    most_resident: int = 0
    leases: int = 0
    waiting: int = 0
    evictions: int = 0
    own_begin_nbytes: int = 0
    """Memory of the server after the warm-up, all models unloaded; see `own_nbytes`."""
    own_end_nbytes: int = 0
    seconds: float = 0.0

    @property
    def growth(self) -> float:
        """Growth of the server's memory as a share of what it was after the warm-up."""
        return self.own_end_nbytes / self.own_begin_nbytes - 1


class Soak:
    """First every distinct request alone, then all of them from all clients at once."""

    def __init__(self, clients: Clients, pid: int, models: Sequence[str], asks: Sequence[Ask]) -> None:
        """Prepare it.

        Args:
            clients: of the server, which serves `faulty_app`.
            pid: of the server.
            models: names of its models.
            asks: the requests.
        """
        self._clients = clients
        self._http = clients.http
        self._pid = pid
        self._models = models
        self._asks = asks
        self._report = SoakReport(requests=len(asks), tally=clients.tally)

    async def run(self) -> SoakReport:
        """Everything, from the first request alone to the last look at the ledger."""
        begun, report = time.monotonic(), self._report
        warm_up = int(len(self._asks) * _WARM_UP)
        await self._clients.ask_alone(self._asks)
        await self._storm(self._asks[:warm_up])
        report.own_begin_nbytes = await self._own_nbytes()
        await self._storm(self._asks[warm_up:])
        report.own_end_nbytes = await self._own_nbytes()
        report.evictions = _evictions((await self._http.get("/metrics")).text)
        report.seconds = time.monotonic() - begun
        return report

    async def _storm(self, asks: Sequence[Ask]) -> None:
        """Storm, audit the ledger at the same time, and wait until the server is at rest."""
        auditing = asyncio.create_task(self._audit())
        try:
            await self._clients.storm(asks)
            await self._come_to_rest()
        finally:
            auditing.cancel()
            await asyncio.wait([auditing])
        if not auditing.cancelled():
            auditing.result()
        await self._check_integrity()

    async def _audit(self) -> None:
        while True:
            await self._check_integrity()
            self._note((await self._http.get("/pool")).json())
            await asyncio.sleep(_AUDIT_S)

    def _note(self, pool: dict[str, Any]) -> None:
        report = self._report
        report.leases, report.waiting = pool["leases"], pool["waiting"]
        resident = sum(model["residency"] == "device" for model in pool["models"])
        report.most_resident = max(report.most_resident, resident)
        used = pool["host"]["weights_nbytes"] + pool["reserved_nbytes"]
        if used > BUDGET_NBYTES:
            report.tally.wrong.append(f"{used} bytes in use, the budget is {BUDGET_NBYTES}")

    async def _check_integrity(self) -> None:
        answer = await self._http.get("/load/integrity")
        if answer.status_code != 204:
            self._report.tally.wrong.append(f"the ledger is wrong: {answer.text}")

    async def _come_to_rest(self) -> None:
        """Wait until no request holds or awaits a model; requests that remain after a minute are reported."""
        deadline = time.monotonic() + _REST_S
        while True:
            pool = await at_rest(self._http)
            self._note(pool)
            self._report.waiting = pool["waiting"]
            if self._report.leases == self._report.waiting == 0:
                return
            if time.monotonic() > deadline:
                left = f"{self._report.leases} leases, {self._report.waiting} requests left"
                self._report.tally.wrong.append(left)
                return
            await asyncio.sleep(0.02)

    async def _own_nbytes(self) -> int:
        """Bytes of the server once all models have left memory."""
        for model in self._models:
            (await self._http.post(f"/models/{model}/unload")).raise_for_status()
        return own_nbytes(self._pid)


async def at_rest(http: httpx.AsyncClient) -> dict[str, Any]:
    """The pool as `GET /pool` shows it; `waiting` counts the requests before the dispatcher too."""
    pool = (await http.get("/pool")).json()
    pool["waiting"] += (await http.get("/")).json()["waiting"]
    return pool


def own_nbytes(pid: int | str) -> int:
    """Resident bytes of a process without file pages, which the kernel takes and brings back as it likes. Linux only.

    Args:
        pid: of the process; `"self"` is this one.
    """
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(("RssAnon:", "RssShmem:")))


def _evictions(metrics: str) -> int:
    lines = (line for line in metrics.splitlines() if line.startswith("litestar_diffusion_evictions_total{"))
    return int(sum(float(line.split()[-1]) for line in lines))
