"""Requests of a load test: what each asks for, how it must end, and when its client leaves. Equal seeds give equal plans."""

import base64
import io
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from PIL import Image

Outcome = Literal["image", "tiled", "no_memory", "not_finite", "bad_field", "unknown_model"]
WIDTHS_PX: Mapping[Outcome, tuple[int, ...]] = {
    "image": (64, 96, 128),
    "tiled": (112,),
    "no_memory": (88,),
    "not_finite": (120,),
    "bad_field": (100,),
    "unknown_model": (64,),
}
"""Widths of pictures that end so on `faulty_app`."""
CODES: Mapping[Outcome, str] = {
    "no_memory": "insufficient_memory",
    "not_finite": "not_finite",
    "bad_field": "invalid_request",
    "unknown_model": "unknown_model",
}
STATUS: Mapping[Outcome, int] = {"no_memory": 503, "not_finite": 500, "bad_field": 400, "unknown_model": 404}

_SHARES: Mapping[Outcome, int] = {
    "image": 80,
    "tiled": 5,
    "no_memory": 5,
    "not_finite": 5,
    "bad_field": 3,
    "unknown_model": 2,
}
_REPEATS = 5
"""Average number of times that a soak asks for the same image."""
_SOAK_SAMPLERS = ("euler", "dpmpp_2m_karras")
_STORM_SAMPLERS = (
    "euler",
    "Euler a",
    "DPM++ 2M Karras",
    "ddim",
    "unipc",
    "heun",
    "lms",
    "dpmpp_2m_sde",
    "dpm2",
    "lcm",
)
_UPSCALERS = ("latent", "lanczos", "demo-x2")
_COLOURS = ("red", "green", "blue", "yellow", "white")


@dataclass(frozen=True, slots=True)
class Ask:
    """One request."""

    model: str
    body: Mapping[str, Any]
    outcome: Outcome
    leaves_after_s: float | None = None
    """Seconds after which its client closes the connection."""
    upscales: bool = False
    """Whether it enlarges a picture instead of making one."""

    @property
    def path(self) -> str:
        """The route that it is sent to."""
        return "/upscale" if self.upscales else f"/generate/{self.model}"

    @property
    def key(self) -> str:
        """Equal for requests that must give equal images."""
        own = {name: value for name, value in self.body.items() if name not in ("reproducible", "priority")}
        return f"{self.model} {sorted(own.items())}"


def soak_plan(count: int, models: Sequence[str], seed: int) -> list[Ask]:
    """`count` reproducible requests: every outcome, an image of every model, some of them very popular (Zipf's law)."""
    rng = random.Random(seed)
    distinct = {outcome: _distinct(rng, outcome, count, models) for outcome in _SHARES}
    asks = [ask for own in distinct.values() for ask in own]
    for outcome in rng.choices(tuple(_SHARES), tuple(_SHARES.values()), k=max(0, count - len(asks))):
        asks += rng.choices(distinct[outcome], [1 / rank for rank in range(1, len(distinct[outcome]) + 1)])
    rng.shuffle(asks)
    leaving = (rng.uniform(0, 0.4) if rng.random() < 0.15 else None for _ in range(count))
    return [replace(ask, leaves_after_s=after) for ask, after in zip(asks[:count], leaving, strict=True)]


def storm_plan(count: int, distinct: int, seed: int) -> list[Ask]:
    """`count` requests of which `distinct` differ: ten samplers, pictures, masks, second passes, adapters; a fifth leaves."""
    rng = random.Random(seed)
    kinds = [_storm_ask(rng) for _ in range(distinct)]
    return [_varied(rng, rng.choice(kinds)) for _ in range(count)]


def siege_plan(seed: int) -> list[Ask]:
    """Small reproducible requests, one of each kind: text, picture, mask, hires, adapters, an embedding, an enlargement."""
    rng, size = random.Random(seed), (64, 64)
    plain = {"prompt": "a red circle on a blue background", "width": 64, "height": 64, "num_inference_steps": 2}
    kinds: list[Mapping[str, Any]] = [
        {},
        _from_picture(rng, size),
        _masked(rng, size),
        *(_enlarged(upscaler) for upscaler in _UPSCALERS),
        _adapted(rng),
        {"prompt": f"{plain['prompt']} <lora:outline:0.8>"},
        {"prompt": f"{plain['prompt']} in turquoise"},
    ]
    made = [Ask("demo", {**plain, "seed": rng.randrange(2**32), "reproducible": True, **own}, "image") for own in kinds]
    return [*made, Ask("", {"image": _picture(rng, size), "upscaler": "demo-x2"}, "image", upscales=True)]


def _distinct(rng: random.Random, outcome: Outcome, count: int, models: Sequence[str]) -> list[Ask]:
    least = len(models) if outcome == "image" else 1
    number = max(least, count * _SHARES[outcome] // sum(_SHARES.values()) // _REPEATS)
    own = rng.sample(models, len(models))
    return [_soak_ask(rng, own[index % len(own)], outcome) for index in range(number)]


def _soak_ask(rng: random.Random, model: str, outcome: Outcome) -> Ask:
    side = rng.choice(WIDTHS_PX[outcome])
    body = {
        "prompt": rng.choice(("a red circle on a blue background", "a green star on a white background")),
        "seed": rng.randrange(2**31),
        "num_inference_steps": rng.randint(1, 3),
        "width": side,
        "height": side,
        "sampler": rng.choice(_SOAK_SAMPLERS),
        "guidance_scale": rng.choice((1.0, 3.0)),
        "reproducible": True,
    }
    body |= _beginning(rng, (side, side))
    return Ask("no-such-model" if outcome == "unknown_model" else model, body, outcome)


def _beginning(rng: random.Random, size: tuple[int, int]) -> Mapping[str, Any]:
    """Have a part of the requests begin from a picture, or paint a part of one."""
    match rng.choice(("text", "text", "image", "mask")):
        case "image":
            return _from_picture(rng, size)
        case "mask":
            return _masked(rng, size)
        case _:
            return {}


def _from_picture(rng: random.Random, size: tuple[int, int]) -> Mapping[str, Any]:
    return {"num_inference_steps": 4, "image": _picture(rng, size), "strength": 0.6}


def _masked(rng: random.Random, size: tuple[int, int]) -> Mapping[str, Any]:
    content = rng.choice(("original", "fill", "noise", "nothing"))
    return {**_from_picture(rng, size), "mask": _half(size), "mask_content": content}


def _enlarged(upscaler: str) -> Mapping[str, Any]:
    # 160 pixels are no width of the faults.
    return {"hires": {"width": 160, "height": 160, "steps": 2, "upscaler": upscaler, "strength": 0.5}}


def _adapted(rng: random.Random) -> Mapping[str, Any]:
    return {"adapters": [{"name": "outline", "weight": rng.choice((0.5, 1.0))}]}


def _storm_ask(rng: random.Random) -> Ask:
    outcome: Outcome = "not_finite" if rng.random() < 0.2 else "image"
    body = {
        "prompt": f"a {rng.choice(_COLOURS)} circle on a {rng.choice(_COLOURS)} background",
        "seed": rng.randrange(2**32),
        "sampler": rng.choice(_STORM_SAMPLERS),
        "num_inference_steps": rng.randint(1, 5),
        "guidance_scale": rng.choice((1.0, 3.0)),
        "width": rng.choice(WIDTHS_PX[outcome]),
        "height": 64,
        "n": rng.choice((1, 1, 1, 2)),
    }
    return Ask(rng.choice(("demo", "demo-vpred")), {**body, **_addition(rng, outcome, body)}, outcome)


def _addition(rng: random.Random, outcome: Outcome, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Have requests begin from pictures, have a second pass, or adapters."""
    kind = rng.choice(("beginning", "beginning", "hires", "adapter"))
    match kind:
        case "hires" if outcome == "image":
            return _enlarged(rng.choice(_UPSCALERS))
        case "adapter":
            return _adapted(rng)
        case _:
            return _beginning(rng, (body["width"], body["height"]))


def _picture(rng: random.Random, size: tuple[int, int]) -> str:
    picture = Image.new("RGB", size, rng.choice(_COLOURS))
    picture.paste(rng.choice(_COLOURS), (16, 16, 48, 48))
    return _sent(picture)


def _half(size: tuple[int, int]) -> str:
    mask = Image.new("L", size, 0)
    mask.paste(255, (size[0] // 2, 0, *size))
    return _sent(mask)


def _sent(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def _varied(rng: random.Random, ask: Ask) -> Ask:
    """The same image, asked for in another way."""
    manner = {"reproducible": rng.random() < 0.3, "priority": rng.choice(("low", "normal", "high"))}
    leaves_after_s = rng.uniform(0.02, 0.8) if rng.random() < 0.2 else None
    return replace(ask, body={**ask.body, **manner}, leaves_after_s=leaves_after_s)
