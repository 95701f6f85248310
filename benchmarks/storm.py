"""Many clients at once, against a server that is made to fail: what they asked for, what they got, what it looks like.

`benchmarks/torture.py` lets it rage for long; the tests for a minute.
"""

import base64
import io
import random
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
from PIL import Image

SHARED_PSNR_DB = 45.0
"""Images that shared steps with others are at least as like those made alone."""
NAN_WIDTH_PX = 72
"""Images of this width come out as NaN; see `injecting`."""

_SAMPLERS = ("euler", "Euler a", "DPM++ 2M Karras", "ddim", "unipc", "heun", "lms", "dpmpp_2m_sde", "dpm2", "lcm")
_MODELS = ("demo", "demo-vpred")
_COLOURS = ("red", "green", "blue", "yellow", "white")


@dataclass(frozen=True)
class Ask:
    """One request, and whether its client leaves before the answer."""

    model: str
    body: dict[str, Any]
    leaves_after_s: float | None = None

    @property
    def key(self) -> str:
        """Equal for requests that must give equal images."""
        said = {name: value for name, value in self.body.items() if name not in ("reproducible", "priority")}
        return f"{self.model} {sorted(said.items())}"

    @property
    def becomes_nan(self) -> bool:
        """Whether its images cannot be made; see `injecting`."""
        return self.body["width"] == NAN_WIDTH_PX


@dataclass
class Outcome:
    """What became of a storm."""

    answered: int = 0
    left: int = 0
    refused_as_injected: int = 0
    lowest_psnr_db: float = float("inf")
    wrong: list[str] = field(default_factory=list[str])


def asks(seed: int, count: int, distinct: int) -> list[Ask]:
    """So many requests, of which so many differ; a fifth of the clients leave early."""
    rng = random.Random(seed)
    kinds = [_kind(rng) for _ in range(distinct)]
    return [
        Ask(
            model,
            {**body, "reproducible": rng.random() < 0.3, "priority": rng.choice(("low", "normal", "high"))},
            rng.uniform(0.02, 0.8) if rng.random() < 0.2 else None,
        )
        for model, body in (rng.choice(kinds) for _ in range(count))
    ]


def _kind(rng: random.Random) -> tuple[str, dict[str, Any]]:
    return rng.choice(_MODELS), {
        "prompt": f"a {rng.choice(_COLOURS)} circle on a {rng.choice(_COLOURS)} background",
        "seed": rng.randrange(2**32),
        "sampler": rng.choice(_SAMPLERS),
        "num_inference_steps": rng.randint(1, 5),
        "guidance_scale": rng.choice((1.0, 3.0)),
        "width": rng.choice((64, 64, 96, 128, NAN_WIDTH_PX)),
        "height": 64,
        "n": rng.choice((1, 1, 1, 2)),
    }


def alone(url: str, everything: Sequence[Ask]) -> dict[str, list[bytes]]:
    """The images of each distinct request, asked for one after the other."""
    images: dict[str, list[bytes]] = {}
    with httpx.Client(base_url=url, timeout=120) as client:
        for ask in everything:
            if ask.key not in images and not ask.becomes_nan:
                answer = client.post(f"/generate/{ask.model}", json={**ask.body, "reproducible": True})
                answer.raise_for_status()
                images[ask.key] = _images(answer)
    return images


def rage(url: str, everything: Sequence[Ask], expected: dict[str, list[bytes]], clients: int) -> Outcome:
    """Send everything from so many clients, each in its own time, and hold the answers against those expected."""
    outcome, lock = Outcome(), threading.Lock()

    def send(ask: Ask) -> None:
        found = _ask(url, ask)
        with lock:
            _judge(ask, found, expected, outcome)

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(send, everything))
    return outcome


def _ask(url: str, ask: Ask) -> httpx.Response | None:
    """The answer; None where the client left."""
    timeout = httpx.Timeout(120, read=ask.leaves_after_s or 120)
    try:
        return httpx.post(f"{url}/generate/{ask.model}", json=ask.body, timeout=timeout)
    except httpx.ReadTimeout:
        if ask.leaves_after_s is None:
            raise
        return None


def _judge(ask: Ask, answer: httpx.Response | None, expected: dict[str, list[bytes]], outcome: Outcome) -> None:
    if answer is None:
        outcome.left += 1
    elif ask.becomes_nan:
        outcome.refused_as_injected += 1
        if answer.status_code != 500 or answer.json()["code"] != "not_finite":
            outcome.wrong.append(f"{ask}: {answer.status_code} {answer.text[:300]} instead of not_finite")
    elif answer.status_code != 200:
        outcome.wrong.append(f"{ask}: {answer.status_code} {answer.text[:300]}")
    else:
        outcome.answered += 1
        likeness = min(_psnr_db(*pair) for pair in zip(_images(answer), expected[ask.key], strict=True))
        outcome.lowest_psnr_db = min(outcome.lowest_psnr_db, likeness)
        needed = float("inf") if ask.body["reproducible"] else SHARED_PSNR_DB
        if likeness < needed:
            outcome.wrong.append(f"{ask}: {likeness:.1f} dB from the image made alone")


def _images(answer: httpx.Response) -> list[bytes]:
    return [base64.b64decode(image["image"]) for image in answer.json()["images"]]


def _psnr_db(one: bytes, other: bytes) -> float:
    first, second = (np.asarray(Image.open(io.BytesIO(data)), dtype=np.float64) for data in (one, other))
    error = np.mean((first - second) ** 2)
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))
