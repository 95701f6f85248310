"""Events of the pool: one value each, ready for a log line."""

import re
from collections.abc import Callable
from typing import Any

import msgspec

from ..models.spec import HEAT, ModelName, Residency
from .eviction_reason import EvictionReason


class ModelLoaded(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Weights came from disk into memory."""

    model: ModelName
    nbytes: int
    seconds: float


class ModelLoadFailed(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A load ended in an error; after a few seconds the next request tries again, unless the files are to blame."""

    model: ModelName
    code: str
    reason: str
    stack: str | None = None
    """Stack of an unforeseen failure."""


class ModelPlaced(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Components came from the host to the device; `nbytes` counts what moved."""

    model: ModelName
    components: tuple[str, ...]
    nbytes: int
    seconds: float


class ModelOffloaded(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Device copies were dropped; the host keeps the weights and nothing moved."""

    model: ModelName
    components: tuple[str, ...]
    nbytes: int
    seconds: float
    reason: EvictionReason


class ModelUnloaded(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The weights left memory altogether; `nbytes` leaves out what other models share."""

    model: ModelName
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


class LeaseOverdue(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A lease has been out for very long; its holder may have forgotten it."""

    model: ModelName
    seconds: float


PoolEvent = ModelLoaded | ModelLoadFailed | ModelPlaced | ModelOffloaded | ModelUnloaded | LeaseGranted | LeaseOverdue
OnPoolEvent = Callable[[PoolEvent], None]


def event_facts(event: PoolEvent) -> dict[str, Any]:
    """Give the fields of an event as logs and answers show them, in their words."""
    facts = msgspec.structs.asdict(event)
    if isinstance(event, ModelOffloaded | ModelUnloaded):
        facts["reason"] = str(event.reason)
    if isinstance(event, LeaseGranted):
        facts["found"] = HEAT[event.found]
    return facts


def event_name(event: PoolEvent) -> str:
    """Name an event as in logs and answers: `ModelLoaded` is `model_loaded`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", type(event).__name__).lower()


def ignore(_event: PoolEvent) -> None:
    """Ignore an event."""
