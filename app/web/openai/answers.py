"""Encodes finished requests as OpenAI's answers and events."""

import asyncio
import base64
import time
from collections.abc import Sequence
from typing import Any, Literal
from urllib.parse import quote

import msgspec
from litestar import Request

from ...domain.generator import Generated
from ...domain.jobs.event_log import JobEvent
from ..http.clients import client_of
from ..http.media_types import IMAGES
from .stored_images import StoredImages
from .wire import ImageData, ImagesAnswer, ImagesBody, Usage

_QUALITIES: dict[str | None, Literal["low", "medium", "high", "xhigh", "max"]] = {
    "low": "low", "high": "high", "hd": "high", "xhigh": "xhigh", "max": "max",
}  # fmt: skip


def images_answer(
    request: Request[Any, Any, Any], body: ImagesBody, generated: Generated, stored: StoredImages
) -> ImagesAnswer:
    """Answer with all images of a request, in base64 or by address."""
    if body.response_format == "url":
        data = [
            ImageData(url=_address(request, stored.put(image.data, IMAGES[image.format], client_of(request))))
            for image in generated.images
        ]
    else:
        data = [ImageData(b64_json=image.data) for image in generated.images]
    asked = generated.request
    return ImagesAnswer(
        created=int(time.time()),
        data=data,
        output_format=asked.output_format,
        quality=_QUALITIES.get(body.quality, "medium"),
        size=f"{asked.width}x{asked.height}",
    )


def partial_event(body: ImagesBody, event: JobEvent, index: int, size: str) -> bytes:
    """Encode an unfinished image; it is a small JPEG in any case."""
    return msgspec.json.encode(
        {
            "type": f"{body.events}.partial_image",
            "b64_json": event.data["image"],
            "partial_image_index": index,
            **_facts(body, size, "jpeg"),
        }
    )


def warnings_header(warnings: Sequence[str]) -> dict[str, str]:
    """Return the header `x-warnings`, percent-encoded because headers hold Latin-1 only; none without warnings."""
    return {"x-warnings": quote(" | ".join(warnings), safe=" |,.;:'()/_-")} if warnings else {}


async def completed_events(body: ImagesBody, generated: Generated, warnings: Sequence[str]) -> list[bytes]:
    """Encode the finished images, an event each; `warnings` are added to those of the images."""
    asked = generated.request
    facts = _facts(body, f"{asked.width}x{asked.height}", asked.output_format)
    encoded = await asyncio.to_thread(_base64, [image.data for image in generated.images])
    more = {"usage": Usage(), "warnings": [*warnings, *generated.warnings]}
    return [
        msgspec.json.encode({"type": f"{body.events}.completed", "b64_json": text, **facts, **more}) for text in encoded
    ]


def _facts(body: ImagesBody, size: str, output_format: str) -> dict[str, Any]:
    return {
        "created_at": int(time.time()),
        "size": size,
        "quality": _QUALITIES.get(body.quality, "medium"),
        "background": "opaque",
        "output_format": output_format,
    }


def _base64(files: list[bytes]) -> list[str]:
    return [base64.b64encode(data).decode() for data in files]


def _address(request: Request[Any, Any, Any], name: str) -> str:
    """Return the whole address of a stored image, as the client reaches this server."""
    mounted = quote(request.url.path.rpartition("/images/")[0])
    return str(request.url.with_replacements(path=f"{mounted}/images/files/{name}", query=""))
