"""The header `WWW-Authenticate`: how a client authenticates here."""

from collections.abc import Sequence

_REALM = 'realm="litestar-diffusion"'


def challenge(scopes: Sequence[str] = ()) -> dict[str, str]:
    """Return the header of answers 401 and 403.

    Args:
        scopes: those of which the client's key has none (RFC 6750, section 3.1); empty if it has no key.
    """
    missing = f', error="insufficient_scope", scope="{" ".join(scopes)}"' if scopes else ""
    return {"www-authenticate": f'Bearer {_REALM}{missing}, Basic {_REALM}, charset="UTF-8"'}
