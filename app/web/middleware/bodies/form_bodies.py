"""Reads forms with pictures before the handler's own decoder, which would hold the whole body in memory."""

from litestar.types import ASGIApp, Receive, Scope, Send

from ....domain.errors import InvalidRequest
from ...http.bodies.body_chunks import BodyTooLarge, read_before
from ...http.bodies.forms import MULTIPART, Form, note_form, read_form
from ...http.route_groups import takes_pictures


class FormBodies:
    """Middleware of routes that take pictures. `form_of` has the form; the handler's decoder gets an empty object."""

    def __init__(self, app: ASGIApp, max_nbytes: int) -> None:
        self._app = app
        self._max_nbytes = max_nbytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Have the form of a request read if it sends one, once its handler asks for the body: after all guards."""
        content_type = _content_type(scope) if scope["type"] == "http" else ""
        if not content_type.lower().startswith(MULTIPART) or not takes_pictures(scope["route_handler"]):
            await self._app(scope, receive, send)
            return

        async def read() -> bytes:
            try:
                found: Form | Exception = await read_form(receive, content_type, self._max_nbytes)
            except (InvalidRequest, BodyTooLarge) as error:
                found = error
            note_form(scope, found)
            return b"{}"  # Litestar does not call the decoder of an empty body.

        await self._app(scope, read_before(receive, read), send)


def _content_type(scope: Scope) -> str:
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == b"content-type"), "")
