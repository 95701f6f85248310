"""Limits of keys on requests for images, the same for all dialects: requests and work a minute, and which models."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from litestar.connection import ASGIConnection

from ...domain.access.key_ring import KeyHolder
from ...domain.access.quotas import Quotas
from ...domain.errors import Forbidden
from ...domain.generator import ImageGenerator
from ...domain.requests.parameters import GenerationParameters
from ...domain.shown import cut
from .authentication import holder_of

Admit = Callable[[], None]
"""Counts the work of a request once no other limit refuses it; raises RateLimited."""


def _nothing() -> None:
    """Count nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """Admits requests by the limits of their keys; a request without a key has none.

    Litestar's rate limit counts requests at the border, for each address, in a store. These limits are of keys, count work
    that is known after a request has been decoded and resolved, and leave out requests that poll.
    """

    quotas: Quotas
    generator: ImageGenerator

    async def of(
        self, connection: ASGIConnection[Any, Any, Any, Any], model: str, parameters: GenerationParameters
    ) -> Admit:
        """Count a request, and return what counts its work.

        Raises:
            RateLimited: the key has used its requests of this minute.
            Forbidden: the key may not use this model.
            UnknownModel, UnusableModel, InvalidRequest: the work of the request cannot be told.
        """
        holder = holder_of(connection)
        if holder is None:
            return _nothing
        self.quotas.use_request(holder.name)
        key = holder.key
        if not key.models and key.megapixel_steps_per_minute is None:
            return _nothing
        work = await self.generator.work(model, parameters)
        if not key.may_use(work.model):
            raise _other_models(holder, work.model)
        return lambda: self._use_work(holder, work.megapixel_steps)

    def of_dry_run(self, client: str) -> None:
        """Count a dry run, which costs a tenth of a second of a CPU.

        Raises:
            RateLimited: the client has used its dry runs of this minute.
        """
        self.quotas.use_dry_run(client)

    def of_upscaling(self, connection: ASGIConnection[Any, Any, Any, Any]) -> None:
        """Count a request that enlarges a picture, which is no work of a model.

        Raises:
            RateLimited: the key has used its requests of this minute.
        """
        holder = holder_of(connection)
        if holder is not None:
            self.quotas.use_request(holder.name)

    def _use_work(self, holder: KeyHolder, megapixel_steps: float) -> None:
        self.generator.refuse_if_full(holder.client)  # what is refused uses up no work
        self.quotas.use_work(holder.name, megapixel_steps)


def _other_models(holder: KeyHolder, model: str) -> Forbidden:
    allowed = cut(", ".join(holder.key.models))
    return Forbidden(
        f"The key {holder.name!r} may not use the model {cut(model)!r}, only {allowed} (keys.{holder.name}.models)."
    )
