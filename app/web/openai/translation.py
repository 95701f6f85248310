"""Translates bodies of OpenAI's Images API to parameters of this server."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...domain.errors import FieldError, InvalidRequest
from ...domain.families.registry import family_named
from ...domain.models.spec import ModelSpec
from ...domain.requests.parameters import GenerationParameters
from ...domain.shown import cut
from .wire import EditsBody, ImagesBody, Quality

_SIZE = re.compile(r"([0-9]{1,5})x([0-9]{1,5})")

_SHARE_OF_STEPS: dict[Quality, float] = {
    "low": 0.5, "medium": 1, "standard": 1, "auto": 1, "high": 1.5, "hd": 1.5, "xhigh": 2, "max": 2,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Translated:
    """A request in this server's terms, and what was ignored of it."""

    model: str
    parameters: GenerationParameters
    warnings: tuple[str, ...]


def translated(body: ImagesBody, model: ModelSpec, *, unknown: Sequence[str] = ()) -> Translated:
    """Translate a body.

    Args:
        body: of the request.
        model: entry of the model that it names; `quality` is relative to its own number of steps.
        unknown: names of fields that were sent and mean nothing here.

    Raises:
        InvalidRequest: `size` is no size.
    """
    width, height = _size(body.size)
    parameters = GenerationParameters(
        prompt=body.prompt,
        negative_prompt=body.negative_prompt,
        adapters=body.adapters,
        vae=body.vae,
        num_inference_steps=body.num_inference_steps or _steps(body.quality, model),
        guidance_scale=body.guidance_scale,
        width=width,
        height=height,
        seed=body.seed,
        n=body.n or 1,
        sampler=body.sampler,
        schedule=body.schedule,
        previews=bool(body.stream and body.partial_images),
        priority=body.priority or "normal",
        output_format=body.output_format or "png",
        output_quality=_file_quality(body),
        **_picture(body),
    )
    return Translated(model=model.name, parameters=parameters, warnings=tuple(_ignored(body, unknown)))


def their_names(body: ImagesBody) -> Mapping[str, str]:
    """Return this dialect's names of fields, by the server's own."""
    steps = {"num_inference_steps": "quality"} if body.num_inference_steps is None else {}
    return {"width": "size", "height": "size", "output_quality": "output_compression", **steps}


def _picture(body: ImagesBody) -> dict[str, Any]:
    """Return what an edit has beside: its picture, and its mask, the inside of which is painted anew unless told otherwise."""
    if not isinstance(body, EditsBody):
        return {}
    strength = body.strength if body.strength is not None or body.mask is None else 1.0
    return {"image": body.image, "mask": body.mask, "strength": strength}


def _size(size: str | None) -> tuple[int | None, int | None]:
    if size in (None, "auto"):
        return None, None
    found = _SIZE.fullmatch(size)
    width, height = (int(side) for side in found.groups()) if found else (0, 0)
    if not (width and height):
        raise InvalidRequest([FieldError(field="size", message=f"must be like 1024x1024 or auto, got {cut(size)!r}")])
    return width, height


def _steps(quality: Quality | None, model: ModelSpec) -> int | None:
    """Return the steps of a quality; None for the model's own, which few-step models always keep."""
    share = _SHARE_OF_STEPS[quality or "auto"]
    if share == 1 or model.traits.few_step:
        return None
    own = model.overrides.num_inference_steps or family_named(model.traits.family).defaults(model.traits).steps
    return max(1, math.ceil(own * share))


def _file_quality(body: ImagesBody) -> int | None:
    if body.output_format in (None, "png"):
        return None
    return max(1, body.output_compression if body.output_compression is not None else 100)


def _ignored(body: ImagesBody, unknown: Sequence[str]) -> Iterator[str]:
    if unknown:
        yield f"ignored, because they mean nothing here: {', '.join(unknown)}"
    if body.background == "transparent":
        yield "background is opaque: images of this server have no transparency"
    if body.stream and body.partial_images and (body.n or 1) > 1:
        yield "partial_images shows the first unfinished image only"
    if body.output_compression is not None and body.output_format in (None, "png"):
        yield "output_compression has no effect on png"
