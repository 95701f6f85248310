"""Many clients at once: each request is asked for alone first, then in company, and every answer is judged."""

import asyncio
import base64
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.pictures import SHARED_PSNR, psnr

from .plans import CODES, STATUS, Ask

_ANSWER_S = 120.0


@dataclass(slots=True)
class Tally:
    """What became of the requests."""

    left: int = 0
    """Clients that were gone before their answer."""
    compared: int = 0
    """Answers with images as like those made alone as they must be."""
    refused: Counter[str] = field(default_factory=Counter[str])
    """Errors that had to come, by their codes."""
    lowest_psnr_db: float = float("inf")
    wrong: list[str] = field(default_factory=list[str])
    """Everything that should not have happened."""

    @property
    def finished(self) -> int:
        """Requests whose end is known."""
        return self.left + self.compared + self.refused.total() + len(self.wrong)


class Clients:
    """Clients of one server. Use within `async with`."""

    def __init__(self, url: str, count: int, *, on_progress: Callable[[str], None] = lambda _doing: None) -> None:
        """Know the server.

        Args:
            url: of the server.
            count: clients that ask at the same time.
            on_progress: receives a line of text after each answer.
        """
        self._count = count
        self._on_progress = on_progress
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=count)
        self.http = httpx.AsyncClient(base_url=url, timeout=_ANSWER_S, limits=limits)
        self.tally = Tally()
        self._alone: dict[str, list[bytes]] = {}

    async def __aenter__(self) -> "Clients":
        await self.http.__aenter__()
        return self

    async def __aexit__(self, *failure: Any) -> None:
        await self.http.__aexit__(*failure)

    async def ask_alone(self, asks: Sequence[Ask]) -> int:
        """Ask for every distinct request, one after the other, and keep the images. Returns how many requests gave some."""
        for ask in sorted({ask.key: ask for ask in asks}.values(), key=lambda ask: ask.model):
            answer = await self._post(ask, reproducible=True)
            if self._is_as_expected(ask, answer) and answer.status_code == 200:
                self._alone[ask.key] = _images(answer)
            self._on_progress(f"{len(self._alone)} distinct images made alone")
        return len(self._alone)

    async def storm(self, asks: Sequence[Ask]) -> None:
        """Ask from all clients at once; `tally` holds the outcome."""
        waiting = iter(asks)
        await asyncio.gather(*(self._one_client(waiting) for _ in range(self._count)))

    async def _one_client(self, asks: Iterator[Ask]) -> None:
        for ask in asks:
            try:
                async with asyncio.timeout(ask.leaves_after_s):
                    answer = await self._post(ask)
            except TimeoutError:
                self.tally.left += 1
            else:
                self._judge(ask, answer)
            self._on_progress(f"{self.tally.finished} requests done, {len(self.tally.wrong)} wrong")

    async def _post(self, ask: Ask, **further: Any) -> httpx.Response:
        return await self.http.post(ask.path, json={**ask.body, **further})

    def _judge(self, ask: Ask, answer: httpx.Response) -> None:
        if not self._is_as_expected(ask, answer):
            return
        if answer.status_code != 200:
            self.tally.refused[answer.json()["code"]] += 1
            return
        likeness_db = min(psnr(*pair) for pair in zip(_images(answer), self._alone[ask.key], strict=True))
        self.tally.lowest_psnr_db = min(self.tally.lowest_psnr_db, likeness_db)
        if likeness_db >= (float("inf") if ask.body.get("reproducible") else SHARED_PSNR):
            self.tally.compared += 1
        else:
            self.tally.wrong.append(f"{ask}: {likeness_db:.1f} dB from the image made alone")

    def _is_as_expected(self, ask: Ask, answer: httpx.Response) -> bool:
        found = answer.json()
        tiled = "tiled_decode" in found.get("memory_savings", ())
        expected = (STATUS.get(ask.outcome, 200), CODES.get(ask.outcome), ask.outcome == "tiled")
        if (answer.status_code, found.get("code"), tiled) == expected:
            return True
        self.tally.wrong.append(f"{ask}: {answer.status_code} {answer.text[:200]}")
        return False


def _images(answer: httpx.Response) -> list[bytes]:
    return [base64.b64decode(image["image"]) for image in answer.json()["images"]]
