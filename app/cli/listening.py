"""The listening socket of `serve`, from an address in any common spelling."""

import errno
import ipaddress
import socket
from typing import Any

from .failures import Failure


def listen(host: str, port: int) -> socket.socket:
    """Open the listening socket before anything is loaded: a port in use is an error at once, and early clients wait.

    Args:
        host: IPv4 or IPv6 address, with or without brackets, or a name.
        port: TCP port; 0 takes a free one.

    Raises:
        Failure: the system refuses, or `host` is no address of this machine.
    """
    family, address = _resolved(host, port)
    # With its protocol stated, asyncio switches Nagle's algorithm off on each connection; it holds answers back for 40 ms.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(address)
        listening.listen()
    except (OSError, OverflowError) as error:
        listening.close()
        raise Failure(_reason(error, host, port)) from error
    return listening


def is_loopback(host: str) -> bool:
    """Tell whether an address, or the one that a name leads to, is reached from this machine alone.

    Raises:
        Failure: it is no address and no name.
    """
    _, address = _resolved(host, 0)
    found = ipaddress.ip_address(str(address[0]).partition("%")[0])
    return (getattr(found, "ipv4_mapped", None) or found).is_loopback


def _resolved(host: str, port: int) -> tuple[int, tuple[Any, ...]]:
    """Look an address up; names prefer IPv4, which is what `localhost` stands for in most clients."""
    plain = host.strip()
    if plain.startswith("[") and plain.endswith("]"):
        plain = plain[1:-1]
    if not plain:
        raise Failure(
            "The host is empty. Give an address: 127.0.0.1 for this machine alone, 0.0.0.0 for all its interfaces."
        )
    try:
        found = socket.getaddrinfo(plain, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, ValueError) as error:  # UnicodeError is a ValueError: a label of a name is empty or too long
        raise Failure(
            f"{host!r} is no address and no name of this machine. Give an address alone, such as 127.0.0.1, 0.0.0.0, ::1 "
            "or localhost, and the port with --port."
        ) from error
    family, _, _, _, address = min(found, key=lambda each: each[0] != socket.AF_INET)
    return family, address


def _reason(error: OSError | OverflowError, host: str, port: int) -> str:
    if isinstance(error, OverflowError):
        return f"{port} is no port. Ports are 0 to 65535."
    match error.errno:
        case errno.EADDRINUSE:
            return f"Port {port} of {host} is in use. Choose another with --port, or 0 for a free one."
        case errno.EADDRNOTAVAIL:
            return f"{host} is not an address of this machine. 127.0.0.1 is this machine alone, 0.0.0.0 all its interfaces."
        case errno.EACCES:
            return f"Port {port} needs more rights than this user has. Choose one above 1023 with --port."
        case _:
            return f"{host} cannot be listened on at port {port}: {error.strerror}."
