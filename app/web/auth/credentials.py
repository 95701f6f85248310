"""Finds the key in the headers of a request: a bearer token, `X-API-Key`, or the password of HTTP Basic."""

import base64
import binascii
from collections.abc import Iterable

from ...domain.errors import ConflictingKeys, Unauthorized
from ...domain.shown import cut


def credential_in(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return the key that a request carries; None if it carries none.

    Args:
        headers: raw, with names in lower case.

    Raises:
        ConflictingKeys: headers carry different keys.
        Unauthorized: the header `Authorization` cannot be read.
    """
    stated = {key for name, value in headers if (key := _key_in(name, value.decode("latin-1").strip()))}
    if len(stated) > 1:
        raise ConflictingKeys
    return next(iter(stated), None)


def _key_in(name: bytes, value: str) -> str | None:
    if name == b"x-api-key":
        return value
    if name != b"authorization" or not value:
        return None
    scheme, _, rest = value.partition(" ")
    match scheme.lower():
        case "bearer":
            return rest.strip()
        case "basic":
            return _password(rest.strip())
        case _:
            raise Unauthorized(
                f"The scheme {cut(scheme)!r} of the header Authorization is not known here: use Bearer or Basic."
            )


def _password(encoded: str) -> str | None:
    """Return the password; the user name, which may be any, if there is no password, as in `curl -u KEY:`."""
    try:
        user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, ValueError) as error:
        raise Unauthorized("The header Authorization: Basic is not base64 of user:password.") from error
    return password or user or None
