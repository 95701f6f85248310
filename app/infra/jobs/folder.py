"""The folder of jobs: what is where in it."""

import asyncio
from pathlib import Path

from .database import HEAD, Database, sqlite_url
from .device_lock import DeviceLock
from .job_files import JobFiles
from .process_mark import ProcessMark
from .sql_repository import SqlJobRepository


def jobs_in(folder: Path, database_url: str | None, *, lease_s: float, min_free_nbytes: int) -> SqlJobRepository:
    """Make the repository of the jobs in a folder. Reads nothing yet.

    Args:
        folder: of the files, and of an SQLite database.
        database_url: of another database.
        lease_s: seconds of silence after which another process takes the unfinished jobs of this one.
        min_free_nbytes: bytes that stay free on the disk.
    """
    return SqlJobRepository(
        database_in(folder, database_url),
        JobFiles(folder / "files"),
        ProcessMark(folder / "processes"),
        lease_s=lease_s,
        min_free_nbytes=min_free_nbytes,
    )


def device_lock_in(folder: Path) -> DeviceLock:
    """Make the lock of the device that this process will have."""
    return DeviceLock(folder / "devices")


async def migrate_in(folder: Path, database_url: str | None) -> str:
    """Bring the schema of the database to the version of this package.

    Returns:
        A line that says so.

    Raises:
        StorageUnavailable: the database does not answer, or its schema belongs to a later version.
    """
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    database = database_in(folder, database_url)
    try:
        await database.migrate()
    finally:
        await database.close()
    return f"{database.shown} has the schema {HEAD}."


def database_in(folder: Path, url: str | None) -> Database:
    """Make the database of the jobs in a folder. Makes no connection yet.

    Raises:
        InvalidSettings: the URL is wrong.
    """
    return Database(url or sqlite_url(folder / "jobs.db"))
