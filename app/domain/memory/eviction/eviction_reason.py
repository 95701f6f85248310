"""Reasons for which weights leave a tier."""

from dataclasses import dataclass
from enum import Enum

from ...models.spec import ModelName


class EvictionCause(Enum):
    """The kind of a reason; its value is the label in metrics."""

    ROOM = "room"
    """Another model or its activations needed the bytes."""
    OUT_OF_MEMORY = "out_of_memory"
    """The device ran out of memory."""
    UNUSED = "unused"
    """No request has used the model for a long time."""
    CHANGED = "changed"
    """Its files or settings changed."""
    BUDGET = "budget"
    """The budget was lowered."""
    ASKED = "asked"
    """A client asked for it."""
    SHUTDOWN = "shutdown"


@dataclass(frozen=True, slots=True, kw_only=True)
class EvictionReason:
    """Why weights left, and what the sentence about it names."""

    cause: EvictionCause
    for_model: ModelName | None = None
    """Model that needed the bytes."""
    idle_s: float | None = None
    """Seconds without a use."""

    def __str__(self) -> str:
        """Word the reason for logs and `GET /pool`."""
        match self.cause:
            case EvictionCause.ROOM:
                return f"to make room for {self.for_model}"
            case EvictionCause.UNUSED:
                return f"unused for {self.idle_s or 0:.0f} s"
            case _:
                return _WORDS[self.cause]


_WORDS: dict[EvictionCause, str] = {
    EvictionCause.OUT_OF_MEMORY: "the device ran out of memory",
    EvictionCause.CHANGED: "its files changed",
    EvictionCause.BUDGET: "the budget was lowered",
    EvictionCause.ASKED: "asked for",
    EvictionCause.SHUTDOWN: "shutdown",
}
