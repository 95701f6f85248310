"""Which web pages may use the server, and under which names it is reached: pure decisions about headers.

Browsers send the origin of a request, and scripts cannot change it; other clients send no such header and pass.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443}
_ANY = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class OriginRules:
    """Who may use the server besides its own pages and programs that are no browsers."""

    allowed_origins: Sequence[str] = ()
    """Origins such as `https://app.example.org` whose pages may send requests that do something; `*` allows all."""
    allowed_hosts: Sequence[str] = ()
    """Names such as `images.example.org` or `*.example.org` of the server, besides localhost; `*` allows all."""


def host_allowed(rules: OriginRules, host: str) -> bool:
    """Tell whether the server accepts requests under this host name.

    A page can have its own name lead to 127.0.0.1 or to an address of the network that its reader is in (DNS rebinding), and
    then counts as one of this server for the browser. So the name must be a known one. An address is no name, and cannot be
    rebound.

    Args:
        rules: what is allowed.
        host: the Host header; empty if there is none, which no browser does.
    """
    if not host:
        return True
    name = host_name(host)
    if name == "localhost" or name.endswith(".localhost") or _is_address(name):
        return True
    return any(_matches(name, allowed.lower()) for allowed in rules.allowed_hosts)


def origin_allowed(rules: OriginRules, host: str, origin: str | None, site: str | None) -> bool:
    """Tell whether a request that changes something may come from this origin.

    Args:
        rules: what is allowed.
        host: the Host header.
        origin: the Origin header, of browsers.
        site: the Sec-Fetch-Site header, of newer browsers. It is right behind a proxy that changes Host, too.
    """
    if _ANY in rules.allowed_origins or origin in rules.allowed_origins:
        return True
    if site is not None:
        return site in ("same-origin", "none")
    return origin is None or _same(origin, host)


def host_name(host: str) -> str:
    """Return the name or address in a Host header, without the port."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return host.lower()


def _same(origin: str, host: str) -> bool:
    """Tell whether an origin is this server. A proxy may have taken TLS off, so the scheme only tells the default port."""
    scheme, _, place = origin.partition("://")
    default = _DEFAULT_PORTS.get(scheme)
    return bool(place) and default is not None and _place(place, default) == _place(host, default)


def _place(netloc: str, default_port: int) -> tuple[str | None, int] | None:
    try:
        parts = urlsplit(f"//{netloc}")
        return parts.hostname, parts.port or default_port
    except ValueError:
        return None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _matches(name: str, allowed: str) -> bool:
    return allowed in (_ANY, name) or (allowed.startswith("*.") and name.endswith(allowed[1:]))
