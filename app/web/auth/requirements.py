"""Which scopes a route needs, declared beside it: `opt=requires("generate")`."""

from collections.abc import Mapping
from typing import Any

from ...domain.access.scopes import Scope

_OPT = "litestar_diffusion_scopes"
UNDECLARED: frozenset[Scope] = frozenset({"admin"})
"""What a route needs that declares nothing, such as one of another package's dialect."""


def requires(*scopes: Scope) -> dict[str, Any]:
    """Return the `opt` of a handler or controller that a key with any of these scopes may use."""
    return {_OPT: frozenset(scopes)}


def public() -> dict[str, Any]:
    """Return the `opt` of a handler or controller that needs no key."""
    return {_OPT: frozenset[Scope]()}


def is_declared(opt: Mapping[str, Any]) -> bool:
    """Tell whether a route says what it needs."""
    return _OPT in opt


def required_by(opt: Mapping[str, Any]) -> frozenset[Scope]:
    """Return the scopes any of which a route needs; none if it is public."""
    return opt.get(_OPT, UNDECLARED)
