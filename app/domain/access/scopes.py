"""What keys allow."""

from collections.abc import Collection
from typing import Literal, get_args

Scope = Literal["generate", "read", "admin"]
"""`generate`: make images, and see the own ones and what can be asked for. `read`: see the state of the server and its metrics.
`admin`: all of it, and move models, refresh the catalogue, see the jobs of all keys."""
SCOPES: tuple[Scope, ...] = get_args(Scope)
"""All of them."""


def allows(held: Collection[Scope], accepted: Collection[Scope]) -> bool:
    """Tell whether a key with these scopes may do what any of the accepted scopes allows; `admin` may do everything."""
    return "admin" in held or any(scope in held for scope in accepted)
