"""Where the phases of a finished request lie in time, from the seconds that were measured of each."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

ORDER = ("start", "queue", "load", "encode", "denoise", "decode", "upscale", "resize")
"""The order in which a request goes through them; `write` comes last."""
_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Phase:
    """One phase, in nanoseconds since the epoch."""

    name: str
    begun_ns: int
    ended_ns: int


def phases_of(begun_ns: int, ended_ns: int, seconds: Mapping[str, float]) -> Iterator[Phase]:
    """Place the phases one after the other, `write` at the end; those that took no time are left out.

    Lengths are measured, moments are not: the turns of a request that gave way to others are one phase here.

    Args:
        begun_ns: when the request began.
        ended_ns: when it ended; no phase ends later.
        seconds: of each phase.
    """
    at = begun_ns
    for name in ORDER:
        until = min(ended_ns, at + int(seconds.get(name, 0.0) * _NS))
        if until > at:
            yield Phase(name, at, until)
        at = until
    writing = min(int(seconds.get("write", 0.0) * _NS), ended_ns - at)
    if writing > 0:
        yield Phase("write", ended_ns - writing, ended_ns)
