"""Connections to public addresses only: a name may lead to a private one, also a moment after it was checked."""

import asyncio
import ipaddress
import socket
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import httpcore


def is_public(address: str) -> bool:
    """Tell whether an address is one of the internet, and not of this machine, its network or its cloud."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address):
        inner = parsed.ipv4_mapped or parsed.sixtofour or (parsed.teredo[1] if parsed.teredo else None)
        if inner is not None:
            return is_public(str(inner))
        if parsed not in _GLOBAL_UNICAST:
            return False
    return parsed.is_global and not parsed.is_multicast


_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
"""The only part of IPv6 that IANA assigns to the internet. Around it are more forms of IPv4 addresses, such as those of NAT64."""
_LOOKUPS = 8
"""Names that are looked up at once."""


class PublicNetwork(httpcore.AsyncNetworkBackend):
    """Looks up a name once, checks the addresses, and connects to one of them: there is no second look-up to deceive."""

    def __init__(self, *, allow_private: bool) -> None:
        self._allow_private = allow_private
        self._network = httpcore.AnyIOBackend()
        # Threads of its own: look-ups that no resolver answers would fill those of the event loop, which all other work needs.
        self._lookups = ThreadPoolExecutor(_LOOKUPS, thread_name_prefix="webhook-lookup")

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the port's signature
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to a host.

        Raises:
            ConnectError: it has a private address, or none.
        """
        addresses = await self._addresses(host, port)
        if not self._allow_private and not all(is_public(address) for address in addresses):
            raise httpcore.ConnectError(f"{host} has a private address, which is not called (webhooks.allow_private)")
        return await self._network.connect_tcp(  # pyright: ignore[reportAttributeAccessIssue] - absent without anyio
            addresses[0], port, timeout=timeout, local_address=local_address, socket_options=socket_options
        )

    async def _addresses(self, host: str, port: int) -> list[str]:
        """Look up the addresses of a host.

        Raises:
            ConnectError: it has none, or is no name.
        """
        lookup = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._lookups, lookup)
        except (OSError, ValueError) as error:  # ValueError: a name that IDNA cannot encode
            raise httpcore.ConnectError(f"{host} has no address: {error}") from error
        return list(dict.fromkeys(str(entry[4][0]) for entry in found))
