"""All keys of a server: finds the holder of a credential."""

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime

from ..errors import Unauthorized
from .api_key import ApiKey, hash_of
from .scopes import Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyHolder:
    """The client that a key identifies."""

    name: str
    """Name of the key in the settings."""
    key: ApiKey

    @property
    def scopes(self) -> tuple[Scope, ...]:
        """What the key allows."""
        return self.key.scopes

    @property
    def client(self) -> str:
        """Name of the client, for its share of the device, its jobs and its idempotency keys."""
        return client_named(self.name)


def client_named(key_name: str) -> str:
    """Return the name of the client that holds the key of this name."""
    return f"key:{key_name}"


def _today() -> date:
    return datetime.now(UTC).date()


class KeyRing:
    """The keys of the settings."""

    def __init__(self, keys: Mapping[str, ApiKey], *, today: Callable[[], date] = _today) -> None:
        self._holders = [KeyHolder(name=name, key=key) for name, key in keys.items()]
        self._today = today

    def __bool__(self) -> bool:
        """Tell whether there are keys."""
        return bool(self._holders)

    def holder_of(self, credential: str) -> KeyHolder:
        """Return the holder of a key.

        Raises:
            Unauthorized: no key is this one, or it has expired.
        """
        # Every key is compared, in constant time: the duration says neither which key was nearly right nor where it stands.
        stated = hash_of(credential)
        found = [holder for holder in self._holders if hmac.compare_digest(holder.key.hash, stated)]
        if not found:
            raise Unauthorized("The key is not one of this server. `litestar-diffusion keys add NAME` makes one.")
        holder = found[0]
        if holder.key.expires is not None and holder.key.expires <= self._today():
            raise Unauthorized(
                f"The key {holder.name!r} expired on {holder.key.expires} (keys.{holder.name}.expires). Ask for a new one."
            )
        return holder
