"""What the pool and the dispatcher tell whoever listens: one value an event, ready for a log line."""

from collections.abc import Callable

import msgspec

from .model import ModelName


class ModelLoaded(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Weights came from disk into memory."""

    model: ModelName
    nbytes: int
    seconds: float


class ModelLoadFailed(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A load ended in an error; the next request tries again, unless the files are to blame."""

    model: ModelName
    code: str
    reason: str


class ModelPlaced(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Weights came from the host to the device."""

    model: ModelName
    nbytes: int
    seconds: float


class ModelOffloaded(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The device copy was dropped to make room; the host keeps the weights."""

    model: ModelName
    nbytes: int
    made_room_for: ModelName


class ModelUnloaded(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The weights left memory altogether."""

    model: ModelName
    nbytes: int
    reason: str


PoolEvent = ModelLoaded | ModelLoadFailed | ModelPlaced | ModelOffloaded | ModelUnloaded
OnPoolEvent = Callable[[PoolEvent], None]


def ignore(_event: PoolEvent) -> None:
    """For those who do not listen."""
