"""Clients that wait with large pictures, sent in every way in which a picture can be sent."""

import asyncio
import base64
import gzip
import io
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import httpx
import numpy as np
from PIL import Image

FACTORY = "tests.load.waiting_app:create_app"
_COME_S = 60.0


def noise(seed: int, side_px: int) -> bytes:
    """Return a PNG file of 3 bytes a pixel: noise cannot be compressed."""
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (side_px, side_px, 3), np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=0)
    return buffer.getvalue()


@asynccontextmanager
async def waiting(url: str, pictures: Sequence[bytes], ways: Sequence[str]) -> AsyncGenerator[None]:
    """Send pictures, each in the next of some ways, until all requests wait; their clients leave at the end."""
    async with httpx.AsyncClient(base_url=url, timeout=_COME_S) as http:
        # One after the other, as from one client, and a task each, because none of them ends.
        sending: list[asyncio.Task[httpx.Response]] = []
        try:
            for number, picture in enumerate(pictures):
                sending.append(asyncio.create_task(_send(http, ways[number % len(ways)], picture)))
                await _until_waiting(http, number, sending)
            yield
        finally:
            for task in sending:
                task.cancel()
            await asyncio.wait(sending)


WAYS = ("json", "form", "a1111", "openai", "gzip", "hugging face")


async def _send(http: httpx.AsyncClient, way: str, picture: bytes) -> httpx.Response:
    text = base64.b64encode(picture).decode()
    match way:
        case "form":
            return await http.post("/generate/demo", data={"prompt": "x"}, files={"image": ("in.png", picture)})
        case "a1111":
            return await http.post("/sdapi/v1/img2img", json={"prompt": "x", "init_images": [text]})
        case "openai":
            return await http.post("/v1/images/edits", json={"prompt": "x", "model": "demo", "image": text})
        case "gzip":
            body = gzip.compress(json.dumps({"prompt": "x", "image": text}).encode(), 1)
            headers = {"content-type": "application/json", "content-encoding": "gzip"}
            return await http.post("/generate/demo", content=body, headers=headers)
        case "hugging face":
            return await http.post("/generate/demo", content=picture, headers={"content-type": "image/png"})
        case _:
            return await http.post("/generate/demo", json={"prompt": "x", "image": f"data:image/png;base64,{text}"})


async def _until_waiting(
    http: httpx.AsyncClient, count: int, sending: Sequence["asyncio.Task[httpx.Response]"]
) -> None:
    """Wait until so many requests wait behind the one that runs."""
    async with asyncio.timeout(_COME_S):
        while (await http.get("/")).json()["waiting"] < count or not (await http.get("/pool")).json()["leases"]:
            for task in sending:
                if task.done():
                    raise AssertionError(f"a request ended: {task.result().text[:300]}")
            await asyncio.sleep(0.02)
