"""File descriptors: as many as the system gives, and some that no connection takes."""

import sys

ACCEPTED_AT_ONCE = 16
"""Connections that are accepted before one of them is looked at."""
FOR_HEALTH = 16
"""Connections beyond the limit, on which health checks alone are answered."""
_FOR_FILES = 64
"""Descriptors of models, databases, the event loop and the log."""
_FEWEST = 8
_ENOUGH = 65_536


def raise_descriptor_limit() -> int | None:
    """Allow this process as many descriptors as an unprivileged one may have. Returns their number; None if it is not known."""
    if sys.platform == "win32":
        return None
    import resource  # only on Unix

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH)
    if soft in (resource.RLIM_INFINITY, wanted) or soft > wanted:
        return None if soft == resource.RLIM_INFINITY else soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):  # macOS allows fewer than it says
        return soft
    return wanted


def most_connections(wanted: int, descriptors: int | None) -> int:
    """Return how many connections may be open, so that descriptors are left for files and for health checks."""
    if descriptors is None:
        return wanted
    return max(_FEWEST, min(wanted, descriptors - _FOR_FILES - FOR_HEALTH - ACCEPTED_AT_ONCE))
