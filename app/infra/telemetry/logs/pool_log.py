"""Writes the pool's events to the log: one line each, with bytes, milliseconds and GB/s."""

from typing import Any

from ....domain.memory.events import (
    AssetLoaded,
    AssetLoadFailed,
    AssetPlaced,
    LeaseGranted,
    LeaseOverdue,
    PoolEvent,
    event_facts,
    event_name,
)
from ....logs import get_logger

_log = get_logger(__name__)


def log_event(event: PoolEvent) -> None:
    """Log what the pool did."""
    name = event_name(event)
    facts: dict[str, Any] = event_facts(event)
    seconds = facts.pop("seconds", None)
    if seconds is not None:
        facts["ms"] = round(seconds * 1000, 1)
    match event:
        case AssetLoaded() | AssetPlaced():
            _log.info(name, **facts, gb_per_s=round(event.nbytes / max(event.seconds, 1e-9) / 1e9, 2))
        case LeaseGranted():
            _log.debug(name, **facts)  # the request's own line says it all
        case AssetLoadFailed() | LeaseOverdue():
            _log.warning(name, **facts)
        case _:
            _log.info(name, **facts)
