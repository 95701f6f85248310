"""Methods that follow from others: HEAD from GET, and OPTIONS from all that a path has."""

from litestar import Router, head
from litestar.types import ASGIApp, HTTPDisconnectEvent, Message, Receive, ReceiveMessage, Scope, Send


def add_head(router: Router) -> None:
    """Answer HEAD at every path of a router that has GET, as health checks of containers and load balancers need it."""
    prefix = router.path.rstrip("/")
    paths = [
        route.path.removeprefix(prefix) or "/"
        for route in router.routes
        if "GET" in route.methods and "HEAD" not in route.methods
    ]

    @head(paths, include_in_schema=False, sync_to_thread=False, middleware=[_headers_of_get])
    def answer_head() -> None:
        """Exists for Litestar's router alone: the middleware has the GET handler of the path answer."""

    router.register(answer_head)


def _headers_of_get(app: ASGIApp) -> ASGIApp:
    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await app(scope, receive, send)
            return
        started = False

        async def without_body(message: Message) -> None:
            nonlocal started
            started = True
            if message["type"] == "http.response.body":
                message = {"type": "http.response.body", "body": b"", "more_body": message.get("more_body", False)}
            await send(message)

        async def gone_once_started() -> ReceiveMessage:
            # A stream of events would go on for ever, so it gets to know that its client wants no more.
            return HTTPDisconnectEvent(type="http.disconnect") if started else await receive()

        as_get: Scope = {**scope, "method": "GET"}
        await app(as_get, gone_once_started, without_body)

    return answer


def answer_options(app: ASGIApp) -> ASGIApp:
    """Answer OPTIONS with every method of the path; Litestar's own answer lacks those that were registered separately."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "OPTIONS":
            await app(scope, receive, send)
            return
        allowed = ", ".join(sorted(_methods(scope))).encode()
        await send({"type": "http.response.start", "status": 204, "headers": [(b"allow", allowed)]})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    return answer


def _methods(scope: Scope) -> set[str]:
    """Collect the methods of all routes that have the path."""
    path, routes = scope["path_template"], scope["litestar_app"].routes
    return {method for route in routes if route.path_format == path for method in route.methods}
