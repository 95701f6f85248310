"""Raw connections from other addresses: all of 127.0.0.0/8 is this machine, so that limits of an address hold. Linux only."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def connected(port: int, address: str) -> AsyncIterator[Streams]:
    """Open a connection to the server from an address; it is dropped at the end, whatever it holds."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0), limit=4096)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


def head(method: str, path: str, length: int | None = None, content_type: str = "application/json") -> bytes:
    """Return the header of a request."""
    body = "" if length is None else f"content-type: {content_type}\r\ncontent-length: {length}\r\n"
    return f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{body}\r\n".encode()


async def until_closed(reader: asyncio.StreamReader) -> None:
    """Read until the server ends the connection."""
    with suppress(ConnectionError):
        while await reader.read(4096):
            pass
