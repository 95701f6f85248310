"""Holds a file that is read through a mapping: where it were cut short meanwhile, the next touch would end the process.

A read lease (Linux, fcntl(2)): whoever opens the file to write, or cuts it, waits until the lease is given back, 45 s at most
(/proc/sys/fs/lease-break-time). Replacing the file by another of its name, as downloads do, needs no wait, and does no harm.
"""

import fcntl
import re
import signal
import sys
from contextlib import suppress
from pathlib import Path

_MAPPED_WELL = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "tmpfs", "overlay"})
"""File systems of this machine. What comes over a network, or through another process, is faster in plain reads, and may be cut
where no lease is known of."""
_MOUNTS = Path("/proc/self/mountinfo")
_ESCAPED = re.compile(r"\\([0-7]{3})")
"""Blanks and backslashes in the names of mount points."""


def hold(descriptor: int, path: Path) -> bool:
    """Hold an open file until it is let go.

    Args:
        descriptor: open for reading alone.
        path: by which it was opened.

    Returns:
        Whether it is held. It is not where somebody has it open to write, where it belongs to another user, on other systems
        than Linux, and on file systems that are not mapped well.
    """
    if sys.platform != "linux" or file_system_of(path) not in _MAPPED_WELL:
        return False
    with suppress(OSError):
        # Whoever waits is told of by a signal; SIGIO, the usual one, would end a process that does not expect it.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        return True
    return False


def let_go(descriptor: int) -> None:
    """Before it is closed: the mapping keeps the file open, and with it the lease."""
    if sys.platform == "linux":
        with suppress(OSError):
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)


def is_held(descriptor: int) -> bool:
    """Whether it is held and nobody waits; from then on there are seconds to leave the mapping alone."""
    return sys.platform == "linux" and fcntl.fcntl(descriptor, fcntl.F_GETLEASE) == fcntl.F_RDLCK


def file_system_of(path: Path) -> str:
    """Such as `ext4`; empty where it is not known."""
    place = path.resolve()
    mounts: dict[Path, str] = {}
    with suppress(OSError):
        for line in _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
            fields, _, kind = line.partition(" - ")
            point = _ESCAPED.sub(lambda found: chr(int(found[1], 8)), fields.split(" ")[4])
            mounts[Path(point)] = kind.split(" ")[0]
    return next((mounts[parent] for parent in (place, *place.parents) if parent in mounts), "")
