"""uvicorn with the limits of the settings, and an end that waits for no client for longer than its grace."""

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, cast

import uvicorn
from litestar import Litestar
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from ..logs import get_logger
from ..plugin import DiffusionPlugin
from ..settings import ServerSettings, Settings
from ..web.http.addresses import AddressRules
from .connection_limits import ConnectionLimits
from .connections import Connections
from .descriptors import ACCEPTED_AT_ONCE, most_connections, raise_descriptor_limit
from .guarded_protocol import GuardedProtocol

_log = get_logger(__name__)
_BACKLOG = 2048
"""Connections that the system keeps until they are accepted."""
_GRACE_BEYOND_S = 5
"""Seconds that answers get once no image is made any more."""
_EXIT_BY_CTRL_C = 130
"""Exit code of a program that Ctrl+C ended, by the convention of shells: 128 and the number of SIGINT."""
_LOOK_S = 0.05
"""Seconds between two looks at signals, which may come at any time."""


class Server(uvicorn.Server):
    """Watches connections, and ends waiting requests when it is told to end; uvicorn alone would wait until each has run."""

    def __init__(
        self,
        config: uvicorn.Config,
        plugin: DiffusionPlugin,
        connections: Connections,
        flush: Callable[[], None],
        *,
        notice_s: float,
    ) -> None:
        super().__init__(config)
        self._notice_s = notice_s
        self.plugin = plugin
        self.watched = connections
        self._flush = flush
        self.loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept connections, a few at once, so that there are never many that no limit has looked at."""
        await super().startup(sockets)
        for listening in sockets or ():
            listening.listen(_BACKLOG)  # asyncio gives the system the number that it accepts at once
        self.loop = asyncio.get_running_loop()
        self._watching = asyncio.create_task(self.watched.watch(), name="watch connections")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End waiting requests, give running ones their grace while the port refuses others, then end all connections."""
        await self._drain()
        self.watched.hurry()
        await super().shutdown(sockets)
        self._watching.cancel()
        with suppress(asyncio.CancelledError):
            await self._watching

    async def _drain(self) -> None:
        """End what there is with the port open: clients learn why they are refused, and how their jobs have ended."""
        had_jobs = self.plugin.has_jobs
        ending = asyncio.create_task(self.plugin.end(), name="drain")
        await self._until(ending.done)
        if had_jobs:
            closes_at = asyncio.get_running_loop().time() + self._notice_s
            await self._until(lambda: self.plugin.hurried or asyncio.get_running_loop().time() >= closes_at)

    async def _until(self, over: Callable[[], bool]) -> None:
        """Wait for a condition, or for a signal that leaves at once."""
        while not over() and not self.force_exit:  # noqa: ASYNC110 - signal handlers cannot set events of the loop
            await asyncio.sleep(_LOOK_S)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End at the first signal; at a second Ctrl+C stop running images at their next step, too; a third one leaves at once."""
        if self.should_exit and sig == signal.SIGINT and not self.plugin.hurried and self.loop is not None:
            self._captured_signals.append(sig)
            self.loop.call_soon_threadsafe(self.plugin.hurry)
        else:
            super().handle_exit(sig, frame)

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Write the log before the process ends by the signal that it was sent, which runs nothing more."""
        with super().capture_signals():
            try:
                yield
            finally:
                self._flush()
                if self.force_exit and threading.current_thread() is threading.main_thread():
                    # Python's own exit joins the engine's threads, which may be in the middle of a step.
                    os._exit(_EXIT_BY_CTRL_C)


def make_server(app: Litestar, settings: Settings, flush: Callable[[], None] = lambda: None) -> Server:
    """Make the server of the standalone application.

    Args:
        app: made by `create_app`.
        settings: of the application.
        flush: writes what the log has not written yet.
    """
    server = settings.server
    most = most_connections(server.max_connections, raise_descriptor_limit())
    if most < server.max_connections:
        _log.warning(
            "few_descriptors", max_connections=most, hint="raise the limit of open files: ulimit -n, LimitNOFILE="
        )
    connections = Connections(_limits(server, most), AddressRules.of(server.trusted_proxies))
    config = uvicorn.Config(
        app,
        http=cast("Any", _protocol(connections)),
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        # uvicorn itself believes X-Forwarded-For from 127.0.0.1, where any program of this machine can make one up.
        proxy_headers=bool(server.trusted_proxies),
        forwarded_allow_ips=list(server.trusted_proxies),
        backlog=ACCEPTED_AT_ONCE,
        timeout_keep_alive=cast("int", server.keep_alive_timeout_s),  # seconds of a timer of the event loop
        timeout_graceful_shutdown=_GRACE_BEYOND_S,
    )
    return Server(config, app.plugins.get(DiffusionPlugin), connections, flush, notice_s=server.shutdown_notice_s)


def _limits(server: ServerSettings, most: int) -> ConnectionLimits:
    return ConnectionLimits(
        max_open=most,
        max_of_address=server.max_connections_per_address,
        header_timeout_s=server.header_timeout_s,
        write_timeout_s=server.write_timeout_s,
        min_bytes_per_s=server.min_bytes_per_s,
    )


def _protocol(connections: Connections) -> Callable[..., asyncio.Protocol]:
    def make(**arguments: Any) -> asyncio.Protocol:
        return GuardedProtocol(cast("Any", AutoHTTPProtocol)(**arguments), connections)

    return make
