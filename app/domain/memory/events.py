"""Events of the pool: one value each, ready for a log line."""

import re
from collections.abc import Callable
from typing import Any

import msgspec

from ..models.assets import AssetKey
from ..models.spec import HEAT, ModelName, Residency
from .eviction.eviction_reason import EvictionReason


class AssetLoaded(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Weights came from disk into memory."""

    asset: AssetKey
    nbytes: int
    seconds: float


class AssetLoadFailed(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A load ended in an error; after a few seconds the next request tries again, unless the files are to blame."""

    asset: AssetKey
    code: str
    reason: str
    stack: str | None = None
    """Stack of an unforeseen failure."""


class AssetPlaced(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Components came from the host to the device; `nbytes` counts what moved."""

    asset: AssetKey
    components: tuple[str, ...]
    nbytes: int
    seconds: float
    device: str = ""
    """Its name if the machine has several."""


class AssetOffloaded(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Device copies were dropped; the host keeps the weights and nothing moved."""

    asset: AssetKey
    components: tuple[str, ...]
    nbytes: int
    seconds: float
    reason: EvictionReason
    device: str = ""
    """Its name if the machine has several."""


class AssetUnloaded(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The weights left memory altogether; `nbytes` leaves out what other assets share."""

    asset: AssetKey
    nbytes: int
    seconds: float
    reason: EvictionReason


class LeaseGranted(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A request got its model."""

    model: ModelName
    found: Residency
    """Residency of the model when the request took it."""
    wait_s: float
    load_s: float
    device: str = ""
    """Its name if the machine has several."""


class LeaseOverdue(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A lease has been out for very long; its holder may have forgotten it."""

    model: ModelName
    seconds: float


AssetEvent = AssetLoaded | AssetLoadFailed | AssetPlaced | AssetOffloaded | AssetUnloaded
PoolEvent = AssetEvent | LeaseGranted | LeaseOverdue
OnPoolEvent = Callable[[PoolEvent], None]


def event_facts(event: PoolEvent) -> dict[str, Any]:
    """Give the fields of an event as logs and answers show them, in their words: an asset by its kind, `model` or `adapter`."""
    facts = msgspec.structs.asdict(event)
    if isinstance(event, AssetEvent):
        del facts["asset"]
        facts = {event.asset.kind: event.asset.name, **facts}
    if isinstance(event, AssetOffloaded | AssetUnloaded):
        facts["reason"] = str(event.reason)
    if isinstance(event, LeaseGranted):
        facts["found"] = HEAT[event.found]
    if not facts.get("device", True):
        del facts["device"]
    return facts


def event_name(event: PoolEvent) -> str:
    """Name an event as in logs and answers: `AssetLoaded` is `model_loaded` for a model, `adapter_loaded` for an adapter."""
    name = re.sub(r"(?<!^)(?=[A-Z])", "_", type(event).__name__).lower()
    return name.replace("asset", event.asset.kind) if isinstance(event, AssetEvent) else name


def ignore(_event: PoolEvent) -> None:
    """Ignore an event."""
