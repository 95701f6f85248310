"""One API key: what the settings hold of it, and how its text is made and hashed."""

import hashlib
import secrets
from collections.abc import Mapping
from datetime import date
from fnmatch import fnmatchcase
from typing import Annotated

import msgspec
from msgspec import Meta

from ..errors import FieldError
from .scopes import Scope

PREFIX = "ldk_"
"""Begins every key, so that people, and programs that search for leaked secrets, recognise one."""
_SECRET_NBYTES = 32
_MAX_NAME_CHARS = 64
_NAME_CHARS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")

PerMinute = Annotated[float, Meta(gt=0, le=1e12)]


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A table `[keys.NAME]` of the settings."""

    hash: Annotated[str, Meta(pattern=r"^sha256:[0-9a-f]{64}$")]
    """Hash of the key, as `litestar-diffusion keys add` writes it; the key itself is stored nowhere."""
    scopes: Annotated[tuple[Scope, ...], Meta(min_length=1)]
    """What the key allows: `generate`, `read`, `admin`."""
    requests_per_minute: PerMinute | None = None
    """Requests for images a minute, of any API; None for no limit. Reading and polling do not count."""
    megapixel_steps_per_minute: PerMinute | None = None
    """Work a minute: width x height x steps x images / 1e6; None for no limit."""
    max_waiting: Annotated[int, Meta(ge=1, le=2**53)] | None = None
    """Requests of this key that may wait; None: `limits.max_waiting_per_client`."""
    models: tuple[str, ...] = ()
    """Names of the models that it may use, also with `*` and `?`; none for all."""
    expires: date | None = None
    """First day, in UTC, on which the key is no longer valid."""

    def may_use(self, model: str) -> bool:
        """Tell whether the key may use the model of this name."""
        return not self.models or any(fnmatchcase(model, allowed) for allowed in self.models)


def new_key() -> str:
    """Return a random key of 256 bits."""
    return PREFIX + secrets.token_urlsafe(_SECRET_NBYTES)


def hash_of(key: str) -> str:
    """Return the hash by which a key is stored.

    A plain SHA-256 is right here: slow, salted hashes protect passwords, which can be guessed. A key of 256 random bits cannot
    be guessed at any speed, and is checked at each request.
    """
    return f"sha256:{hashlib.sha256(key.encode('utf-8', 'surrogateescape')).hexdigest()}"


def wrong_name(name: str) -> str | None:
    """Return why a name of a key is not valid; None if it is."""
    if 0 < len(name) <= _MAX_NAME_CHARS and _NAME_CHARS.issuperset(name):
        return None
    return f"must be 1 to {_MAX_NAME_CHARS} letters a-z, digits, - or _"


def wrong_keys(keys: Mapping[str, ApiKey]) -> list[FieldError]:
    """Find keys whose names are not valid, and keys that are stated twice."""
    errors = [FieldError(field=f"keys.{name}", message=wrong) for name in keys if (wrong := wrong_name(name))]
    first: dict[str, str] = {}
    for name, key in keys.items():
        if (other := first.setdefault(key.hash, name)) != name:
            errors.append(
                FieldError(field=f"keys.{name}.hash", message=f"is that of keys.{other}: give each its own key")
            )
    return errors
