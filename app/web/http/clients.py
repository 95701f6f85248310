"""Who sends a request, as far as fairness between clients goes."""

import hashlib
from typing import Any

from litestar import Request


def client_of(request: Request[Any, Any, Any]) -> str:
    """The API key that it carries, hashed, otherwise its address.

    `Authorization` and `X-API-Key` are not checked here: an application that embeds this may, and whoever makes keys up
    only gets shares of the device that others could make up too; `limits.max_waiting` bounds them all.
    """
    key = request.headers.get("authorization") or request.headers.get("x-api-key")
    if key:
        return hashlib.blake2b(key.encode(), digest_size=8).hexdigest()
    return request.client.host if request.client is not None else ""
