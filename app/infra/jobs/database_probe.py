"""Looks at the database of jobs before a server needs it. Changes nothing: no table is made, no schema migrated."""

import asyncio
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from ...domain.errors import StorageUnavailable
from .database import HEAD, Database
from .folder import database_in
from .probe import Probe, Schema, Unusable
from .sqlite_probe import sqlite_revision

_REVISIONS = Path(__file__).parent / "migrations" / "versions"
_UNREACHABLE = "Start the database, or correct the host and the port in jobs.database."
_HINTS = {
    "28000": "Correct the user and the password in jobs.database, or let the user in (pg_hba.conf).",
    "28P01": "Correct the user and the password in jobs.database.",
    "3D000": "Make the database (CREATE DATABASE ...), or correct its name in jobs.database.",
}
"""What to do, by PostgreSQL's SQLSTATE."""
_MAY_CREATE = text("SELECT has_schema_privilege(current_schema(), 'CREATE')")
_GRANT = (
    "GRANT CREATE ON SCHEMA public to the user of jobs.database, or run litestar-diffusion migrate as a user that may."
)


async def probe_database(folder: Path, url: str | None, timeout_s: float) -> Probe:
    """Connect to the database of the jobs in a folder, and look at its schema.

    Args:
        folder: of the files, and of an SQLite database; it may be absent.
        url: of another database.
        timeout_s: seconds after which it counts as unreachable.

    Raises:
        Unusable: saying why.
        InvalidSettings: the URL is wrong.
    """
    database = database_in(folder, url)
    try:
        if database.file is not None:
            revision = await asyncio.to_thread(sqlite_revision, database.file, timeout_s)
        else:
            revision = await _server_revision(database, timeout_s)
    finally:
        await database.close()
    return Probe(shown=database.shown, schema=_age(revision), revision=revision)


async def _server_revision(database: Database, timeout_s: float) -> str | None:
    try:
        async with asyncio.timeout(timeout_s):
            revision = await database.revision()
            async with database.transaction() as connection:
                may_create = await connection.scalar(_MAY_CREATE)
    except TimeoutError as error:
        raise Unusable(f"no answer within {timeout_s:g} s", _UNREACHABLE) from error
    except StorageUnavailable as error:
        raise _refused(error.__cause__) from error
    if _age(revision) in ("absent", "older") and not may_create:
        raise Unusable("its user may not make the tables that are missing", _GRANT)
    return revision


def _refused(cause: BaseException | None) -> Unusable:
    reason = cause.orig if isinstance(cause, DBAPIError) else cause
    return Unusable(str(reason), _HINTS.get(getattr(reason, "sqlstate", ""), _UNREACHABLE))


def _age(revision: str | None) -> Schema:
    if revision is None:
        return "absent"
    known = {file.name.partition("_")[0] for file in _REVISIONS.glob("[0-9]*.py")}
    return "current" if revision == HEAD else "older" if revision in known else "later"
