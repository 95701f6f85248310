"""Durations of a request's phases in milliseconds, for JSON, the access log and the `Server-Timing` header."""

import dataclasses

from ...domain.generator import Timings
from ...domain.upscaling import UpscaleTimings


def milliseconds(timings: Timings | UpscaleTimings) -> dict[str, float]:
    """Return the duration of each phase in milliseconds, to a hundredth: `{"queue_ms": 1.25, ...}`."""
    seconds = dataclasses.asdict(timings)
    return {f"{name.removesuffix('_s')}_ms": round(max(value, 0.0) * 1000, 2) for name, value in seconds.items()}


def server_timing(timings: Timings | UpscaleTimings) -> str:
    """Return the value of the `Server-Timing` header, which browsers show among the timings of a request."""
    return ", ".join(f"{name.removesuffix('_ms')};dur={value}" for name, value in milliseconds(timings).items())
