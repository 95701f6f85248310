"""All open connections: how many there may be, and which of them must end. Event loop only."""

import asyncio
import itertools
import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Protocol

from ..logs import get_logger
from ..web.http.addresses import AddressRules
from ..web.http.errors.problems import Problem
from ..web.http.errors.refusals import too_many_connections, too_many_connections_of_address
from .connection_limits import ConnectionLimits
from .descriptors import FOR_HEALTH

_log = get_logger(__name__)
_TICK_S = 1.0
_TICKS = 4
"""Looks at each connection within its shortest time-out."""
_HURRIED_S = 2.0


class Connection(Protocol):
    """One connection, as the limits see it."""

    @property
    def address(self) -> str:
        """Address of the client; empty for a socket file."""
        ...

    @property
    def busy(self) -> bool:
        """Whether a request is being read or answered."""
        ...

    @property
    def unsent_nbytes(self) -> int:
        """Bytes that wait for the client to read them."""
        ...

    def check(self, now_s: float, limits: ConnectionLimits) -> None:
        """End it if it is too slow."""
        ...

    def drop(self) -> None:
        """End it at once."""
        ...


_Group = OrderedDict[Connection, None]
"""Connections, the one that has been silent for longest first."""


class Connections:
    """Admits connections. An idle one makes room for a new one; if all are busy, the new one is refused."""

    def __init__(
        self, limits: ConnectionLimits, addresses: AddressRules, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Know of none yet.

        Args:
            limits: how many there may be, and how slow.
            addresses: whose connections are counted together.
            clock: seconds, monotonic.
        """
        self._limits = limits
        self._addresses = addresses
        self._clock = clock
        self._open: _Group = OrderedDict()
        self._refused: _Group = OrderedDict()
        self._of_address: defaultdict[str, _Group] = defaultdict(OrderedDict)

    def __len__(self) -> int:
        return len(self._open) + len(self._refused)

    @property
    def busy(self) -> int:
        """Connections with a request that is being read or answered."""
        return sum(connection.busy for connection in tuple(self._open))

    @property
    def unsent_nbytes(self) -> int:
        """Bytes that wait for clients to read them."""
        return sum(connection.unsent_nbytes for connection in (*self._open, *self._refused))

    def admit(self, connection: Connection) -> Problem | None:
        """Count a new connection. Returns why it is refused, if it is: then health checks alone are answered on it."""
        limits, name = self._limits, self._addresses.group_of(connection.address)
        own = self._of_address[name] if name is not None else None
        if own is not None and len(own) >= limits.max_of_address and not self._shed(own):
            return self._refuse(connection, too_many_connections_of_address(len(own), limits.max_of_address))
        if len(self._open) >= limits.max_open and not self._shed(self._heaviest_first()):
            return self._refuse(connection, too_many_connections(len(self._open), limits.max_open))
        self._open[connection] = None
        if own is not None:
            own[connection] = None
            self._of_address[name or ""] = own  # it may have been forgotten as an empty one
        return None

    def heard(self, connection: Connection) -> None:
        """Note that a client has sent something."""
        for group in self._groups(connection):
            group.move_to_end(connection)

    def forget(self, connection: Connection) -> None:
        """Note that a connection has ended. May be called twice."""
        for group in self._groups(connection):
            del group[connection]
        name = self._addresses.group_of(connection.address)
        if name is not None and not self._of_address[name]:
            del self._of_address[name]

    async def watch(self) -> None:
        """End connections that are too slow, until this is cancelled."""
        while True:
            await asyncio.sleep(self._tick_s())
            now_s = self._clock()
            for connection in (*self._open, *self._refused):
                connection.check(now_s, self._limits)

    def hurry(self) -> None:
        """Wait for no client any longer than it takes to send an answer: the server is ending."""
        limits = self._limits
        self._limits = replace(
            limits,
            header_timeout_s=min(limits.header_timeout_s, _HURRIED_S),
            write_timeout_s=min(limits.write_timeout_s, _HURRIED_S),
        )

    def _groups(self, connection: Connection) -> list[_Group]:
        """List the groups that a connection is in."""
        name = self._addresses.group_of(connection.address)
        groups = [self._open, self._refused, *([self._of_address[name]] if name is not None else [])]
        return [group for group in groups if connection in group]

    def _tick_s(self) -> float:
        return min(_TICK_S, self._limits.header_timeout_s / _TICKS, self._limits.write_timeout_s / _TICKS)

    def _heaviest_first(self) -> Iterable[Connection]:
        """Iterate over all connections, those of the address that has most first, so that a flood ends its own."""
        groups = sorted(self._of_address.values(), key=len, reverse=True)
        return itertools.chain(*groups, self._open)

    def _shed(self, candidates: Iterable[Connection]) -> bool:
        """End the first connection that is idle. Returns whether there was one."""
        idle = next((connection for connection in candidates if not connection.busy), None)
        if idle is None:
            return False
        idle.drop()
        self.forget(idle)
        return True

    def _refuse(self, connection: Connection, problem: Problem) -> Problem:
        _log.warning("connections_refused", code=problem.code, reason=problem.detail)
        if len(self._refused) >= FOR_HEALTH and not self._shed(self._refused):
            connection.drop()
        else:
            self._refused[connection] = None
        return problem
