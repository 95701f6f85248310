"""Takes files out of large JSON bodies before the handler's own decoder, which would hold the whole body in memory."""

import asyncio
from collections.abc import AsyncIterator
from http import HTTPStatus

from litestar.exceptions import HTTPException
from litestar.types import ASGIApp, Receive, Scope, Send

from ...http.bodies.body_chunks import BodyTooLarge, body_chunks, read_before
from ...http.bodies.content_encoding import IDENTITY, Unpacking
from ...http.bodies.forms import MULTIPART
from ...http.bodies.json_files import LONG_NBYTES, JSONReading, note_files
from ...http.route_groups import takes_pictures


class JSONFiles:
    """Middleware of routes that take pictures. `files_of` has the files; the handler's decoder gets marks in their place.

    A packed body is unpacked as it arrives, and comes to the decoder without its header.
    """

    def __init__(self, app: ASGIApp, max_nbytes: int) -> None:
        self._app = app
        self._max_nbytes = max_nbytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Have the body of a request read, once its handler asks for it: after all guards."""
        if scope["type"] != "http" or not _may_hold_files(scope):
            await self._app(scope, receive, send)
            return
        encoding = _encoding(scope)
        if encoding not in IDENTITY:
            scope["headers"] = [header for header in scope["headers"] if header[0] != b"content-encoding"]

        async def read() -> bytes:
            reading = JSONReading()
            try:
                async for piece in self._pieces(receive, encoding):
                    await reading.feed(piece)
                note_files(scope, await reading.end())
            except BodyTooLarge:
                raise HTTPException(status_code=HTTPStatus.REQUEST_ENTITY_TOO_LARGE) from None
            finally:
                reading.close()
            return bytes(reading.text)

        await self._app(scope, read_before(receive, read), send)

    async def _pieces(self, receive: Receive, encoding: str) -> AsyncIterator[bytes]:
        unpacking = None if encoding in IDENTITY else Unpacking(encoding, self._max_nbytes)
        async for chunk in body_chunks(receive, self._max_nbytes):
            if unpacking is None:
                yield chunk
                continue
            for piece in unpacking.feed(chunk):
                yield piece
                await asyncio.sleep(0)  # a small chunk may be a large text
        if unpacking is not None:
            unpacking.end()


def _may_hold_files(scope: Scope) -> bool:
    """Tell whether the body is large enough, or of unknown length; what is packed is."""
    if not takes_pictures(scope["route_handler"]):
        return False
    headers = dict(scope["headers"])
    length = headers.get(b"content-length", b"")
    is_form = headers.get(b"content-type", b"").lower().startswith(MULTIPART.encode())
    is_small = length.isdigit() and int(length) <= LONG_NBYTES
    return not is_form and not (is_small and _encoding(scope) in IDENTITY)


def _encoding(scope: Scope) -> str:
    return dict(scope["headers"]).get(b"content-encoding", b"").decode("latin-1").strip().lower()
