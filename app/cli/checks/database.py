"""Checks of the database of jobs: that it can be reached and written to, and that its schema fits."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

from ...settings import Settings
from .findings import Finding, failed, ok, warning

_TIMEOUT_S = 5.0
"""Seconds after which a database counts as unreachable."""


def database(settings: Settings, timeout_s: float = _TIMEOUT_S) -> Iterator[Finding]:
    """Check the database of jobs, if they are not kept in memory alone."""
    if not settings.jobs.directory:
        return
    from ...infra.jobs.database import HEAD  # here, because `--help` need not wait for SQLAlchemy
    from ...infra.jobs.database_probe import probe_database
    from ...infra.jobs.probe import Unusable

    try:
        found = asyncio.run(probe_database(Path(settings.jobs.directory), settings.jobs.database, timeout_s))
    except Unusable as error:
        yield failed("database", f"The database of jobs cannot be used: {error}.", error.hint)
        return
    match found.schema:
        case "absent":
            yield ok("database", f"{found.shown} has no tables yet; the server makes them at its start.")
        case "current":
            yield ok("database", f"{found.shown} has the schema {HEAD}.")
        case "older":
            yield warning(
                "database",
                f"{found.shown} has the schema {found.revision}, older than {HEAD} of this version.",
                "The server migrates it at its start. To do so before: stop older servers, then litestar-diffusion migrate.",
            )
        case "later":
            yield failed(
                "database",
                f"{found.shown} has the schema {found.revision}; this version knows up to {HEAD}.",
                "Take the later version of litestar-diffusion that has migrated it, or a copy of the database from before.",
            )
