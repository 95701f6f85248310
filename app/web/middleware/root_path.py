"""Puts the prefix of a reverse proxy before every path, whether the proxy removes it or passes it on."""

from typing import Any, cast

from litestar.types import ASGIApp, Receive, Scope, Send


class RootPath:
    """Middleware; requests without the prefix, such as those of probes on the same machine, are answered too.

    The prefix comes from the settings, else from the ASGI server (`uvicorn --root-path`). The path of the scope then begins with
    it once, as ASGI has it, and Litestar makes addresses with it.
    """

    def __init__(self, app: ASGIApp, root_path: str = "") -> None:
        """Wrap an application; `root_path` is a path such as `/images`, or empty."""
        self._app = app
        self._root_path = root_path.rstrip("/")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] == "http":
            _place(cast("dict[str, Any]", scope), self._root_path)
        await self._app(scope, receive, send)


def _place(scope: dict[str, Any], settings_root: str) -> None:
    stated = str(scope.get("root_path") or "").rstrip("/")
    if not (root := settings_root or stated):
        return
    # uvicorn has put its own prefix before the path, and the proxy may have kept the one that the client sent.
    scope["path"] = root + _below(root, _below(stated, scope["path"]))
    if raw := scope.get("raw_path"):
        scope["raw_path"] = (root + _below(root, _below(stated, raw.decode("latin-1")))).encode("latin-1")
    scope["root_path"] = root


def _below(root: str, path: str) -> str:
    """Return a path without a prefix that it may begin with."""
    return path.removeprefix(root) or "/" if f"{path}/".startswith(f"{root}/") else path
