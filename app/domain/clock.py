"""A clock for times that are compared and shown."""

import time

_BEGAN_S = time.time() - time.monotonic()


def steady_time() -> float:
    """Return seconds since the epoch that never jump: the system's clock as it was at the start, carried on by the monotonic one.

    A clock that is set a day forward would otherwise expire all finished jobs at once.
    """
    return _BEGAN_S + time.monotonic()
