"""Which addresses are one client, as far as limits go that hold before a client is known."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_IPV6_OF_ONE_HOST = 64
"""Bits of the network that a provider gives to one customer, who can use all addresses in it."""


@dataclass(frozen=True, slots=True)
class AddressRules:
    """Whose requests are counted together."""

    trusted: tuple[_Network, ...] = ()
    """Proxies, behind which there are many clients."""
    trusts_all: bool = False

    @classmethod
    def of(cls, trusted_proxies: Sequence[str]) -> "AddressRules":
        """Read addresses and networks; `*` trusts all, what is neither is left out."""
        networks = (_network(text) for text in trusted_proxies)
        return cls(tuple(network for network in networks if network is not None), "*" in trusted_proxies)

    def group_of(self, address: str) -> str | None:
        """Return the name of the client at an address; None for a proxy, or a socket file, which have no limit."""
        if self.trusts_all or not address:
            return None
        return _group(address, self.trusted)


@lru_cache(maxsize=4096)
def _group(address: str, trusted: tuple[_Network, ...]) -> str | None:
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    found = getattr(found, "ipv4_mapped", None) or found
    if any(found in network for network in trusted):
        return None
    if found.version == 4:
        return str(found)
    return str(ipaddress.ip_network((found, _IPV6_OF_ONE_HOST), strict=False))


def _network(text: str) -> _Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None
