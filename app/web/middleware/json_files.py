"""Takes files out of large JSON bodies before the handler's own decoder, which would hold the whole body in memory."""

from http import HTTPStatus

from litestar.exceptions import HTTPException
from litestar.types import (
    ASGIApp,
    HTTPDisconnectEvent,
    HTTPReceiveMessage,
    Receive,
    Scope,
    Send,
    WebSocketReceiveMessage,
)

from ..http.bodies.body_chunks import BodyTooLarge, ClientGone, body_chunks
from ..http.bodies.forms import MULTIPART
from ..http.bodies.json_files import LONG_NBYTES, JSONReading, note_files
from ..http.route_groups import takes_pictures


class JSONFiles:
    """Middleware of routes that take pictures. `files_of` has the files; the handler's decoder gets marks in their place."""

    def __init__(self, app: ASGIApp, max_nbytes: int) -> None:
        self._app = app
        self._max_nbytes = max_nbytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Have the body of a request read, once its handler asks for it: after all guards."""
        if scope["type"] != "http" or not _may_hold_files(scope):
            await self._app(scope, receive, send)
            return
        read = False

        async def body_first() -> HTTPReceiveMessage | WebSocketReceiveMessage:
            nonlocal read
            if read:
                return await receive()
            read = True
            reading = JSONReading()
            try:
                async for chunk in body_chunks(receive, self._max_nbytes):
                    await reading.feed(chunk)
            except ClientGone:
                return HTTPDisconnectEvent(type="http.disconnect")
            except BodyTooLarge:
                raise HTTPException(status_code=HTTPStatus.REQUEST_ENTITY_TOO_LARGE) from None
            finally:
                reading.close()
            note_files(scope, reading.files)
            return {"type": "http.request", "body": bytes(reading.text), "more_body": False}

        await self._app(scope, body_first, send)


def _may_hold_files(scope: Scope) -> bool:
    """Tell whether the body is large enough, or of unknown length. Compressed ones are left to the decoder."""
    if not takes_pictures(scope["route_handler"]):
        return False
    headers = dict(scope["headers"])
    length = headers.get(b"content-length", b"")
    is_form = headers.get(b"content-type", b"").lower().startswith(MULTIPART.encode())
    is_small = length.isdigit() and int(length) <= LONG_NBYTES
    return not is_form and not is_small and headers.get(b"content-encoding", b"identity") == b"identity"
