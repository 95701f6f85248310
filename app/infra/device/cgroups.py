"""Reads the limits of the container that the process runs in: Linux control groups, version 1 and 2.

Groups are nested, and each limits those below it, so the tightest limit on the way up counts.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_NO_LIMIT_NBYTES = 2**60
"""Version 1 states "no limit" as the largest number of whole pages."""


@dataclass(frozen=True, slots=True)
class _Mount:
    """A tree of groups as the process sees it."""

    group: str
    """Path of the group that is the tree's topmost folder."""
    folder: Path
    controllers: frozenset[str]
    """Of version 1; empty for version 2, which has all in one tree."""


def memory_limit_nbytes(root: Path = Path("/")) -> int | None:
    """Return the memory that the process may use, in bytes; None if nothing limits it.

    Args:
        root: of the file system; for tests.
    """
    limits = [
        limit
        for folder in _groups(root, "memory")
        for name in ("memory.max", "memory.high", "memory.limit_in_bytes")
        if (limit := _number(folder / name)) is not None and limit < _NO_LIMIT_NBYTES
    ]
    return min(limits, default=None)


def cpu_limit(root: Path = Path("/")) -> float | None:
    """Return the CPUs whose time the process may use, such as 1.5; None if nothing limits it.

    Args:
        root: of the file system; for tests.
    """
    return min((share for folder in _groups(root, "cpu") if (share := _cpus(folder)) is not None), default=None)


def _cpus(folder: Path) -> float | None:
    """Return a group's quota divided by its period: both in one file in version 2, in two in version 1."""
    quota, _, period = _text(folder / "cpu.max").partition(" ")
    quota = quota or _text(folder / "cpu.cfs_quota_us")
    period = period or _text(folder / "cpu.cfs_period_us")
    if not (quota.isdecimal() and period.isdecimal()):  # `max`, or -1: no quota
        return None
    return int(quota) / int(period) if int(quota) and int(period) else None


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Return the folders of the process's groups, innermost first."""
    own = _own_groups(root)
    for mount in _mounts(root):
        if mount.controllers and controller not in mount.controllers:
            continue
        # Some sandboxes name no group; then the topmost folder has the limit.
        inner = _below(mount, own.get(controller if mount.controllers else "", mount.group))
        yield from (folder for folder in (inner, *inner.parents) if folder.is_relative_to(mount.folder))


def _below(mount: _Mount, group: str) -> Path:
    """Return a group's folder. A container often sees its own group as the topmost folder, under the host's name for it."""
    if mount.group != "/" and not f"{group}/".startswith(f"{mount.group}/"):
        return mount.folder
    parts = Path(group.removeprefix(mount.group)).parts
    return mount.folder.joinpath(*(part for part in parts if part not in ("/", "..")))


def _own_groups(root: Path) -> dict[str, str]:
    """Map each controller of version 1, and "" for version 2, to the process's group."""
    lines = (line.split(":", 2) for line in _text(root / "proc/self/cgroup").splitlines())
    return {controller: line[2] for line in lines if len(line) == 3 for controller in line[1].split(",")}


def _mounts(root: Path) -> Iterator[_Mount]:
    for line in _text(root / "proc/self/mountinfo").splitlines():
        place, _, source = line.partition(" - ")
        where, what = place.split(), source.split()
        if len(where) > 4 and what and what[0] in ("cgroup", "cgroup2"):
            folder = root / where[4].lstrip("/")
            controllers = frozenset(what[-1].split(",")) if what[0] == "cgroup" else frozenset[str]()
            yield _Mount(group=where[3], folder=folder, controllers=controllers)


def _number(file: Path) -> int | None:
    text = _text(file)
    return int(text) if text.isdecimal() else None


def _text(file: Path) -> str:
    """Return the content of a small file; nothing if it cannot be read."""
    try:
        return file.read_text(errors="replace").strip()
    except OSError:
        return ""
