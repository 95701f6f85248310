"""A soak: many models in memory for three, clients that come, leave, and ask for what must fail; every image is compared.

`soak.py` runs it at length, `tests/web/test_soak.py` briefly. The server is that of `faulty_app`, which has faults to order.
"""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import httpx

ROOT = Path(__file__).parents[1]
FACTORY = "benchmarks.faulty_app:create_app"
SOLO: dict[str, Any] = {"reproducible": True}
"""Parameters of every request that make its image independent of what runs beside it."""
GROWTH = 0.05
"""The share by which a server's memory may grow from the warm-up's end to the soak's."""

Outcome = Literal["image", "tiled", "no_memory", "not_finite", "bad_field", "unknown_model"]
SIDES: Mapping[Outcome, tuple[int, ...]] = {
    "image": (64, 96, 128),
    "tiled": (112,),
    "no_memory": (88,),
    "not_finite": (120,),
    "bad_field": (100,),
    "unknown_model": (64,),
}
"""The sides of square pictures, in pixels, that end so on `faulty_app`."""
_CODES: Mapping[Outcome, str] = {
    "no_memory": "insufficient_memory",
    "not_finite": "not_finite",
    "bad_field": "invalid_request",
    "unknown_model": "unknown_model",
}
_STATUS: Mapping[Outcome, int] = {"no_memory": 503, "not_finite": 500, "bad_field": 400, "unknown_model": 404}
_SHARES: Mapping[Outcome, int] = {
    "image": 80,
    "tiled": 5,
    "no_memory": 5,
    "not_finite": 5,
    "bad_field": 3,
    "unknown_model": 2,
}
_LEAVING = 0.15
_LEAVES_WITHIN_S = 0.4
_EACH = 5
"""So often, on average, a soak asks the same."""
_WARM_UP = 0.2
_QUIET_S = 60.0
_ANSWER_S = 120.0
_AUDIT_S = 0.2

_UNET_NBYTES, _REST_NBYTES, _ACTIVATION_NBYTES = 17_300_000, 4_600_000, 13_000_000
"""Of the demo model in float32, and of its largest image here."""
BUDGET_NBYTES = 3 * _UNET_NBYTES + _REST_NBYTES + _ACTIVATION_NBYTES
"""Holds three of `write_models`' models, which share all but their UNets, and never four."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A request, how it must end, and when its client leaves."""

    model: str
    body: str
    outcome: Outcome
    leaves_after_s: float | None = None


@dataclass(slots=True)
class Report:
    """What a soak came to."""

    requests: int = 0
    left: int = 0
    """Clients that were gone before their answer."""
    equal: int = 0
    """Images that equal the same request's, made alone."""
    refused: Counter[str] = field(default_factory=Counter[str])
    """Errors that had to come, by their codes."""
    wrong: list[str] = field(default_factory=list[str])
    """Whatever should not have happened."""
    most_resident: int = 0
    leases: int = 0
    waiting: int = 0
    evictions: int = 0
    own_begin_nbytes: int = 0
    """The server's memory after the warm-up, all models unloaded; see `own_nbytes`."""
    own_end_nbytes: int = 0
    seconds: float = 0.0

    @property
    def growth(self) -> float:
        """Of the server's memory, as a share of what it was after the warm-up."""
        return self.own_end_nbytes / self.own_begin_nbytes - 1


def write_models(folder: Path, count: int) -> list[str]:
    """Write models that differ from the demo model, and from each other, in their UNets. Returns their names."""
    import torch
    from safetensors import safe_open
    from safetensors.torch import save_file

    (folder / "demo.config").symlink_to(ROOT / "models" / "demo.config", target_is_directory=True)
    sidecar = (ROOT / "models" / "demo.toml").read_text(encoding="utf-8")
    with safe_open(ROOT / "models" / "demo.safetensors", "pt") as file:
        metadata, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dictionary
    names = [f"soak-{index}" for index in range(count)]
    for index, name in enumerate(names):
        generator = torch.Generator().manual_seed(index)
        own = {
            key: tensor * (1 + 0.02 * torch.randn(tensor.shape, generator=generator)).to(tensor.dtype)
            if key.startswith("model.diffusion_model.")
            else tensor
            for key, tensor in tensors.items()
        }
        save_file(own, folder / f"{name}.safetensors", metadata)
        (folder / f"{name}.toml").write_text(sidecar, encoding="utf-8")
    return names


def environment(folder: Path) -> dict[str, str]:
    """The settings of a server with the models in a folder, and memory for three of them."""
    settings = {
        "MODELS__DIRECTORY": str(folder),
        "MODELS__BUILTIN": "false",
        "MODELS__DEFAULT": "",
        "MODELS__DTYPE": "float32",
        "MEMORY__HOST": str(BUDGET_NBYTES),
        "LOG__LEVEL": "warning",
    }
    return {"PYTHONPATH": str(ROOT)} | {f"LITESTAR_DIFFUSION__{key}": value for key, value in settings.items()}


def plan(count: int, models: Sequence[str], seed: int) -> list[Ask]:
    """So many requests, the same ones for the same seed: every outcome, an image of every model, some of them very popular."""
    chance = random.Random(seed)
    different = {outcome: _different(chance, outcome, count, models) for outcome in _SHARES}
    asks = [ask for own in different.values() for ask in own]
    for outcome in chance.choices(tuple(_SHARES), tuple(_SHARES.values()), k=max(0, count - len(asks))):
        asks += chance.choices(different[outcome], [1 / rank for rank in range(1, len(different[outcome]) + 1)])
    chance.shuffle(asks)
    leaves = (chance.uniform(0, _LEAVES_WITHIN_S) if chance.random() < _LEAVING else None for _ in range(count))
    return [replace(ask, leaves_after_s=after) for ask, after in zip(asks[:count], leaves, strict=True)]


def _different(chance: random.Random, outcome: Outcome, count: int, models: Sequence[str]) -> list[Ask]:
    """The different requests that end so; the first is the most popular one (Zipf's law)."""
    least = len(models) if outcome == "image" else 1
    number = max(least, count * _SHARES[outcome] // sum(_SHARES.values()) // _EACH)
    own = chance.sample(models, len(models))
    return [_ask(chance, own[index % len(own)], outcome) for index in range(number)]


def _ask(chance: random.Random, model: str, outcome: Outcome) -> Ask:
    side = chance.choice(SIDES[outcome])
    body = {
        "prompt": chance.choice(("a red circle on a blue background", "a green star on a white background")),
        "seed": chance.randrange(2**31),
        "num_inference_steps": chance.randint(1, 3),
        "width": side,
        "height": side,
        "sampler": chance.choice(("euler", "dpmpp_2m_karras")),
        "guidance_scale": chance.choice((1.0, 3.0)),
        **SOLO,
    }
    return Ask("nobody" if outcome == "unknown_model" else model, json.dumps(body), outcome)


class Soak:
    """Storms one server: first every different request alone, then all of them from many clients at once."""

    def __init__(
        self,
        url: str,
        pid: int,
        models: Sequence[str],
        asks: Sequence[Ask],
        *,
        clients: int,
        on_progress: Callable[[str], None] = lambda _doing: None,
    ) -> None:
        self._url = url
        self._pid = pid
        self._models = models
        self._asks = asks
        self._clients = clients
        self._on_progress = on_progress
        self._alone: dict[tuple[str, str], tuple[Any, ...]] = {}
        self._report = Report(requests=len(asks))

    async def run(self) -> Report:
        """Everything, from the first lonely request to the last look at the books."""
        begun, report = time.monotonic(), self._report
        warm_up = int(len(self._asks) * _WARM_UP)
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=self._clients)
        async with httpx.AsyncClient(base_url=self._url, timeout=_ANSWER_S, limits=limits) as client:
            for ask in sorted({(ask.model, ask.body): ask for ask in self._asks}.values(), key=lambda ask: ask.model):
                await self._ask_alone(client, ask)
            await self._storm(client, self._asks[:warm_up])
            report.own_begin_nbytes = await self._own_nbytes(client)
            await self._storm(client, self._asks[warm_up:])
            report.own_end_nbytes = await self._own_nbytes(client)
            report.evictions = _evictions((await client.get("/metrics")).text)
        report.seconds = time.monotonic() - begun
        return report

    async def _ask_alone(self, client: httpx.AsyncClient, ask: Ask) -> None:
        answer = await _post(client, ask)
        if self._is_expected(ask, answer) and answer.status_code == 200:
            self._alone[ask.model, ask.body] = _essence(answer)
        self._on_progress(f"{len(self._alone)} different images made alone")

    async def _storm(self, client: httpx.AsyncClient, asks: Sequence[Ask]) -> None:
        """Ask from all clients at once, look at the books meanwhile, and see to it that everything comes to rest."""
        waiting = iter(asks)
        auditing = asyncio.create_task(self._audit(client))
        try:
            await asyncio.gather(*(self._one_client(client, waiting) for _ in range(self._clients)))
            await self._come_to_rest(client)
        finally:
            auditing.cancel()
            await asyncio.wait([auditing])
        if not auditing.cancelled():
            auditing.result()
        await self._check_integrity(client)

    async def _one_client(self, client: httpx.AsyncClient, asks: Iterator[Ask]) -> None:
        for ask in asks:
            try:
                async with asyncio.timeout(ask.leaves_after_s):
                    answer = await _post(client, ask)
            except TimeoutError:
                self._report.left += 1
            else:
                self._compare(ask, answer)
            done = self._report.left + self._report.equal + self._report.refused.total() + len(self._report.wrong)
            self._on_progress(f"{done} of {self._report.requests} requests, {len(self._report.wrong)} wrong")

    def _compare(self, ask: Ask, answer: httpx.Response) -> None:
        if not self._is_expected(ask, answer):
            return
        if answer.status_code != 200:
            self._report.refused[answer.json()["code"]] += 1
        elif _essence(answer) == self._alone.get((ask.model, ask.body)):
            self._report.equal += 1
        else:
            self._report.wrong.append(f"{ask}: another image than alone, {answer.json()['memory_savings']}")

    def _is_expected(self, ask: Ask, answer: httpx.Response) -> bool:
        status, code = _STATUS.get(ask.outcome, 200), _CODES.get(ask.outcome)
        found = answer.json()
        tiled = "tiled_decode" in found.get("memory_savings", ())
        fine = (answer.status_code, found.get("code"), tiled) == (status, code, ask.outcome == "tiled")
        if not fine:
            self._report.wrong.append(f"{ask}: {answer.status_code} {answer.text[:200]}")
        return fine

    async def _audit(self, client: httpx.AsyncClient) -> None:
        """Look at the books while they change."""
        while True:
            await self._check_integrity(client)
            self._look_at((await client.get("/pool")).json())
            await asyncio.sleep(_AUDIT_S)

    def _look_at(self, pool: dict[str, Any]) -> None:
        report = self._report
        report.leases, report.waiting = pool["leases"], pool["waiting"]
        resident = sum(model["residency"] == "device" for model in pool["models"])
        report.most_resident = max(report.most_resident, resident)
        used = pool["host"]["weights_nbytes"] + pool["reserved_nbytes"]
        if used > BUDGET_NBYTES:
            report.wrong.append(f"{used} bytes in use, where {BUDGET_NBYTES} are allowed")

    async def _check_integrity(self, client: httpx.AsyncClient) -> None:
        answer = await client.get("/soak/integrity")
        if answer.status_code != 204:
            self._report.wrong.append(f"the books are wrong: {answer.text}")

    async def _come_to_rest(self, client: httpx.AsyncClient) -> None:
        """Wait until nobody holds or awaits a model; what remains after a while is reported."""
        deadline = time.monotonic() + _QUIET_S
        while True:
            self._look_at((await client.get("/pool")).json())
            self._report.waiting += (await client.get("/")).json()["waiting"]
            if self._report.leases == self._report.waiting == 0:
                return
            if time.monotonic() > deadline:
                self._report.wrong.append(f"{self._report.leases} leases, {self._report.waiting} requests left")
                return
            await asyncio.sleep(0.02)

    async def _own_nbytes(self, client: httpx.AsyncClient) -> int:
        """Memory of the server once all models have left."""
        for model in self._models:
            (await client.post(f"/models/{model}/unload")).raise_for_status()
        return own_nbytes(self._pid)


def own_nbytes(pid: int | str) -> int:
    """Resident bytes of a process, file pages left out: those the kernel takes and brings back as it likes. Linux only.

    Args:
        pid: of the process; `"self"` is this one.
    """
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(("RssAnon:", "RssShmem:")))


async def _post(client: httpx.AsyncClient, ask: Ask) -> httpx.Response:
    headers = {"content-type": "application/json"}
    return await client.post(f"/generate/{ask.model}", networks=ask.body, headers=headers)


def _essence(answer: httpx.Response) -> tuple[Any, ...]:
    """What must be the same in company: the files, byte for byte, and the choices that led to them."""
    found = answer.json()
    return tuple(image["image"] for image in found["images"]), json.dumps(found["parameters"])


def _evictions(metrics: str) -> int:
    lines = (line for line in metrics.splitlines() if line.startswith("litestar_diffusion_evictions_total{"))
    return int(sum(float(line.split()[-1]) for line in lines))
