"""Checks of what surrounds the server: its port, its keys, its folders, its collector of traces. Nothing heavy is imported."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from datetime import UTC, date, datetime
from importlib.util import find_spec
from pathlib import Path

from ...domain.units import format_bytes
from ...settings import Settings
from ..failures import Failure
from ..listening import is_loopback, listen
from .findings import Finding, failed, ok, warning

_LITTLE_NBYTES = 1024**3
"""Free bytes of a disk below which a download or a few jobs fill it."""


def port(settings: Settings) -> Iterator[Finding]:
    """Check that the address can be listened on."""
    server = settings.server
    try:
        listen(server.host, server.port).close()
    except Failure as error:
        yield failed("port", error.message, "If a litestar-diffusion runs there already, this is as it should be.")
    else:
        yield ok("port", f"{server.url} is free.")


def keys(settings: Settings, today: date | None = None) -> Iterator[Finding]:
    """Check that other machines cannot reach a server without keys, and that no key has expired."""
    server, today = settings.server, today or datetime.now(UTC).date()
    try:
        open_to_others = not is_loopback(server.host)
    except Failure:  # it is no address: the check of the port says so
        open_to_others = False
    expired = [name for name, key in settings.keys.items() if key.expires is not None and key.expires <= today]
    if open_to_others and not settings.keys and not server.insecure:
        yield failed(
            "keys",
            f"{server.host} can be reached from other machines, and there are no keys.",
            "litestar-diffusion keys add NAME, or server.insecure = true if something before the server authenticates.",
        )
    elif open_to_others and not settings.keys:
        yield warning(
            "keys", "Other machines reach the server without keys: server.insecure is true.", "See docs/security.md."
        )
    elif expired:
        yield warning("keys", f"Expired: {', '.join(expired)}.", "litestar-diffusion keys remove NAME, then keys add.")
    else:
        yield ok("keys", f"{len(settings.keys)} keys." if settings.keys else "None are needed on this machine alone.")


def folders(settings: Settings) -> Iterator[Finding]:
    """Check that folders can be written to and have space."""
    yield from _writable("downloads", _hub_cache(settings), "hub.cache")
    if settings.jobs.directory:
        yield from _writable("jobs", Path(settings.jobs.directory), "jobs.directory", settings.jobs.min_free_bytes)


def traces(settings: Settings) -> Iterator[Finding]:
    """Check that the packages of the extra are there, if traces are wanted."""
    if not settings.telemetry.traces:
        return
    missing = [name for name in ("opentelemetry.sdk", "opentelemetry.exporter") if not _is_installed(name)]
    if missing:
        yield failed("traces", f"{', '.join(missing)} is missing.", "pip install 'litestar-diffusion[otel]'")
    else:
        yield ok("traces", f"Sent to {os.environ.get('OTEL_EXPORTER_OTLP_ENDPOINT', 'http://localhost:4318')}.")


def _writable(check: str, folder: Path, setting: str, least_nbytes: int = 0) -> Iterator[Finding]:
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            free = shutil.disk_usage(existing).free
    except OSError as error:
        yield failed(check, f"{existing} cannot be written to: {error.strerror}.", f"Set {setting} to another folder.")
        return
    told = f"{folder}: {format_bytes(free)} free."
    if free < least_nbytes:
        yield failed(check, f"{told} At least {format_bytes(least_nbytes)} are kept free.", "Free some space.")
    elif free < _LITTLE_NBYTES:
        yield warning(check, told, f"Free some space, or set {setting} to a folder on another disk.")
    else:
        yield ok(check, told)


def _hub_cache(settings: Settings) -> Path:
    """Return the folder of downloads, as huggingface_hub chooses it."""
    if settings.hub.cache is not None:
        return Path(settings.hub.cache)
    if (stated := os.environ.get("HF_HUB_CACHE")) is not None:
        return Path(stated)
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    return Path(home).expanduser() / "hub"


def _is_installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False
