"""Bounds the bodies of requests in time and memory."""

from litestar.types import ASGIApp, Receive, Scope, Send

from ...http.bodies.incoming_bodies import IncomingBodies


class BoundedBodies:
    """Middleware. A body that is too slow, or one too many, is an error where the handler reads it, after all guards."""

    def __init__(self, app: ASGIApp, bodies: IncomingBodies) -> None:
        self._app = app
        self._bodies = bodies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Wrap one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        with self._bodies.of(scope.get("client"), receive) as bounded:
            await self._app(scope, bounded, send)
