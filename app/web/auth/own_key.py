"""`GET /keys/me`: what the client's key allows, and what is left of its limits."""

from datetime import date
from typing import Annotated, Any

import msgspec
from litestar import Controller, Request, get
from litestar.di import NamedDependency
from litestar.params import SkipValidation
from msgspec import Meta

from ...domain.access.key_ring import KeyHolder
from ...domain.access.quotas import Quotas
from ...domain.access.scopes import Scope
from ..http.route_groups import in_group
from .authentication import holder_of, refusal_of
from .requirements import requires


class QuotaView(msgspec.Struct, frozen=True, kw_only=True):
    """A limit a minute."""

    per_minute: float
    left: Annotated[float, Meta(description="What can be used now; it fills up evenly.")]


class KeyView(msgspec.Struct, frozen=True, kw_only=True):
    """A key."""

    name: Annotated[str, Meta(description="As in the settings: `[keys.NAME]`.")]
    scopes: list[Scope]
    models: Annotated[list[str], Meta(description="Those that it may use, also with `*`; empty for all.")]
    expires: date | None
    max_waiting: Annotated[int | None, Meta(description="Requests that may wait.")]
    requests: Annotated[QuotaView | None, Meta(description="Requests for images; null for no limit.")]
    megapixel_steps: Annotated[
        QuotaView | None, Meta(description="Width x height x steps x images / 1e6; null for no limit.")
    ]


class OwnKeyController(Controller):
    """What a key says about itself."""

    path = "/keys/me"
    tags = ("service",)
    opt = in_group("service") | requires("generate", "read")

    @get("/", summary="Show your key", response_description="The key.", sync_to_thread=False)
    def show_own_key(self, request: Request[Any, Any, Any], quotas: NamedDependency[SkipValidation[Quotas]]) -> KeyView:
        """Show the name, the scopes and the limits of the key that the request carries, and what is left of them."""
        holder = holder_of(request)
        if holder is None:
            raise refusal_of(request)
        return _view(holder, quotas)


def _view(holder: KeyHolder, quotas: Quotas) -> KeyView:
    name, key = holder.name, holder.key
    return KeyView(
        name=name,
        scopes=list(key.scopes),
        models=list(key.models),
        expires=key.expires,
        max_waiting=key.max_waiting,
        requests=_quota(key.requests_per_minute, quotas.requests_left(name)),
        megapixel_steps=_quota(key.megapixel_steps_per_minute, quotas.megapixel_steps_left(name)),
    )


def _quota(per_minute: float | None, left: float | None) -> QuotaView | None:
    if per_minute is None or left is None:
        return None
    return QuotaView(per_minute=per_minute, left=round(left, 3))
