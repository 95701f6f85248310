"""Identifies the client of a request, for fairness between clients."""

import hashlib
from typing import Any

from litestar import Request


def client_of(request: Request[Any, Any, Any]) -> str:
    """Return the hash of the API key that a request carries, otherwise its address."""
    # The key is not checked here: an application that embeds the plugin may check it. A client that invents keys gets
    # shares of the device that other clients could invent too; limits.max_waiting bounds all of them together.
    key = request.headers.get("authorization") or request.headers.get("x-api-key")
    if key:
        return hashlib.blake2b(key.encode(), digest_size=8).hexdigest()
    return request.client.host if request.client is not None else ""
