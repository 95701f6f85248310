"""Writes the pool's events to the log: one line each, with bytes, milliseconds and GB/s."""

import re
from typing import Any

import msgspec
import structlog

from ..domain.events import ModelLoadFailed, PoolEvent

_log = structlog.get_logger()


def log_event(event: PoolEvent) -> None:
    """Log what the pool did; `ModelLoaded` becomes `model_loaded`."""
    name = re.sub(r"(?<!^)(?=[A-Z])", "_", type(event).__name__).lower()
    facts: dict[str, Any] = msgspec.structs.asdict(event)
    seconds = facts.pop("seconds", None)
    if seconds is not None:
        facts["ms"] = round(seconds * 1000, 1)
        facts["gb_per_s"] = round(facts["nbytes"] / max(seconds, 1e-9) / 1e9, 2)
    if isinstance(event, ModelLoadFailed):
        _log.warning(name, **facts)
    else:
        _log.info(name, **facts)
