"""Keeps the `Vary` of an answer: Litestar's CORS middleware puts `Origin` in its place."""

from typing import Any

from litestar.types import ASGIApp, Message, Receive, Scope, Send

_NAME = b"vary"
_NOTED = "noted_vary"


def note_vary(app: ASGIApp) -> ASGIApp:
    """Note the header of an answer, inside of Litestar's CORS middleware."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                _state(scope)[_NOTED] = _names(message)
            await send(message)

        await app(scope, receive, noting if scope["type"] == "http" else send)

    return answer


def restore_vary(app: ASGIApp) -> ASGIApp:
    """Add what `note_vary` has noted to the header, outside of Litestar's CORS middleware."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        async def complete(message: Message) -> None:
            if message["type"] == "http.response.start" and (noted := _state(scope).get(_NOTED)):
                names = dict.fromkeys([*noted, *_names(message)])
                others = [header for header in message.get("headers", []) if header[0].lower() != _NAME]
                message["headers"] = [*others, (_NAME, b", ".join(names))]
            await send(message)

        await app(scope, receive, complete if scope["type"] == "http" else send)

    return answer


def _names(message: Any) -> list[bytes]:
    values = [value for name, value in message.get("headers", []) if name.lower() == _NAME]
    return [name.strip() for value in values for name in value.split(b",") if name.strip()]


def _state(scope: Any) -> dict[str, Any]:
    return scope.setdefault("state", {})
