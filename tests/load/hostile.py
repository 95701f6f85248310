"""Clients that are slow, broken or greedy. Each runs until it is cancelled, and asks for nothing in return."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress

from .addresses import connected, head, until_closed

PICTURE_NBYTES = 990_000
BUNDLE = "/schema-assets/swagger/swagger-ui-bundle.js"
JOB = json.dumps({"prompt": "x", "n": 8, "width": 512, "height": 512, "num_inference_steps": 150}).encode()
SMALL = json.dumps({"prompt": "a red circle", "num_inference_steps": 1, "width": 64, "height": 64}).encode()
_PAUSE_S = 0.2

Act = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Hostile:
    """The kinds of hostile clients of one server."""

    def __init__(self, port: int, seed: int = 0) -> None:
        self._port = port
        self._rng = random.Random(seed)
        self.acts: Counter[str] = Counter()
        """How often each kind did what it does."""

    def all(self, scale: int) -> list[Awaitable[None]]:
        """Return the clients; `scale` multiplies the number of those that are many."""
        slow = [self._again("127.0.1.1", act) for act in (silent, slow_header, slow_body, unread) for _ in range(scale)]
        broken = [self._again("127.0.1.2", act) for act in (self._garbage, half_upload, leaves) for _ in range(2)]
        held = [self._again("127.0.1.3", held_upload) for _ in range(10 * scale)]
        idle = [self._again("127.0.1.4", silent) for _ in range(20 * scale)]
        greedy = [self._again("127.0.1.5", act) for act in (big_job, dry_run, unknown_key, twice) for _ in range(2)]
        return [*slow, *broken, *held, *idle, *greedy]

    async def _again(self, address: str, act: Act) -> None:
        while True:
            with suppress(OSError, asyncio.IncompleteReadError):
                async with connected(self._port, address) as streams:
                    await act(*streams)
                self.acts[getattr(act, "__name__", "garbage").strip("_")] += 1
            await asyncio.sleep(_PAUSE_S * (1 + self._rng.random()))

    async def _garbage(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(self._rng.randbytes(self._rng.randrange(1, 2000)))
        await until_closed(reader)


async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Say nothing."""
    await until_closed(reader)


async def slow_header(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send a byte of a header a second."""
    writer.write(b"GET / HTTP/1.1\r\nx: ")
    await _trickle(reader, writer)


async def slow_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send a byte of a body a second."""
    writer.write(head("POST", "/generate/demo", 10_000))
    await _trickle(reader, writer)


async def unread(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Ask for 28 MB and read nothing."""
    writer.write(head("GET", BUNDLE) * 20)
    while not writer.is_closing():  # noqa: ASYNC110 - reading would be what this does not do
        await asyncio.sleep(_PAUSE_S)


async def half_upload(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Leave in the middle of a form."""
    form = b'--b\r\ncontent-disposition: form-data; name="image"; filename="a.png"\r\n\r\n' + bytes(100_000)
    writer.write(head("POST", "/generate/demo", PICTURE_NBYTES, "multipart/form-data; boundary=b") + form)
    await writer.drain()


async def leaves(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Ask for an image, and leave at the first byte of the answer."""
    writer.write(head("POST", "/generate/demo", len(SMALL)) + SMALL)
    await reader.read(1)


async def held_upload(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send an upload but for its last byte."""
    writer.write(head("POST", "/generate/demo", PICTURE_NBYTES) + b'{"prompt": "' + b"x" * (PICTURE_NBYTES - 13))
    await until_closed(reader)


async def big_job(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send the largest work that is allowed, which never ends in time, and cancel it now and then."""
    job = await _answer(reader, writer, head("POST", "/jobs/demo", len(JOB)) + JOB)
    await asyncio.sleep(2)
    if isinstance(job, dict) and "url" in job:
        await _answer(reader, writer, head("DELETE", job["url"]))


async def dry_run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send dry runs without a pause."""
    for _ in range(20):
        await _answer(reader, writer, head("POST", "/generate/demo?dry_run=true", len(SMALL)) + SMALL)


async def unknown_key(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send a body of many unknown names."""
    body = json.dumps({f"k{index}": index for index in range(60_000)}).encode()
    await _answer(reader, writer, head("POST", "/jobs/demo", len(body)) + body)


async def twice(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """State the length of a body in two ways."""
    writer.write(
        head("POST", "/jobs/demo", 5).replace(b"\r\n\r\n", b"\r\ntransfer-encoding: chunked\r\n\r\n") + b"0\r\n\r\n"
    )
    await until_closed(reader)


async def _trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    closed = asyncio.ensure_future(until_closed(reader))
    try:
        while not closed.done():
            writer.write(b"x")
            await asyncio.wait([closed], timeout=1)
    finally:
        closed.cancel()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> object:
    writer.write(request)
    await writer.drain()
    lines = (await reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
    length = next((int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:")), 0)
    body = await reader.readexactly(length)
    return json.loads(body) if body.startswith(b"{") else None
