"""The database of jobs: its connections, its schema, and what its errors mean."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, column, event, select, table
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from ...domain.errors import FieldError, InvalidSettings, StorageUnavailable
from ...logs import get_logger
from .tables import VERSION_TABLE

_log = get_logger(__name__)

HEAD = "0003"
"""Revision of the schema that this version of the package needs."""
_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg", "postgres": "postgresql+asyncpg"}
_BUSY_S = 15
"""Seconds that SQLite waits for another process that writes."""
_WAL_AGAIN_S = 0.02
_ALONE = {"sqlite": "BEGIN IMMEDIATE", "postgresql": "SELECT pg_advisory_xact_lock(7352401)"}
"""Statement that lets one process after the other change the schema, by dialect; the number is any."""
_MIGRATIONS = Path(__file__).parent / "migrations"


def sqlite_url(file: Path) -> str:
    """Return the URL of a database in a file."""
    return URL.create("sqlite+aiosqlite", database=str(file)).render_as_string(hide_password=False)


class Database:
    """Connections to one database."""

    def __init__(self, url: str) -> None:
        """Make no connection yet.

        Args:
            url: as SQLAlchemy writes it, with or without the name of a driver.

        Raises:
            InvalidSettings: it is no URL, or one of a database that is not supported.
        """
        parsed = _parsed(url)
        self.shown = parsed.render_as_string(hide_password=True)
        """Its URL without the password."""
        self.file = Path(parsed.database or "") if parsed.get_backend_name() == "sqlite" else None
        """Of SQLite."""
        self._engine = _engine(parsed.set(drivername=_DRIVERS.get(parsed.drivername, parsed.drivername)))

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self._engine.dialect.name

    async def revision(self) -> str | None:
        """Return the revision of the schema; None if there are no tables yet.

        Raises:
            StorageUnavailable: the database does not answer.
        """
        async with self.transaction() as connection:
            return await connection.run_sync(_revision)

    async def migrate(self) -> None:
        """Bring the schema to the version that this package needs.

        Raises:
            StorageUnavailable: the database does not answer, or its schema belongs to a later version.
        """
        if self.file is not None:
            await self._use_wal()
        async with self.transaction() as connection:
            # Processes that start together would both make the tables.
            await connection.exec_driver_sql(_ALONE[self.dialect])
            if await connection.run_sync(_revision) != HEAD:
                await connection.run_sync(_upgrade)

    async def _use_wal(self) -> None:
        """Have readers not wait for the one who writes. The file keeps it, so that only its first opening changes something."""
        deadline = time.monotonic() + _BUSY_S
        while True:
            try:
                # SQLite waits for other processes in every other statement, and not in this one.
                async with self._engine.connect() as connection:
                    await connection.exec_driver_sql("PRAGMA journal_mode=WAL")
                return
            except OperationalError as error:
                if "locked" not in str(error.orig) or time.monotonic() > deadline:
                    return  # the next statement says what is wrong
                await asyncio.sleep(_WAL_AGAIN_S)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """Run statements together; all of them count, or none.

        Raises:
            StorageUnavailable: the disk is full, or the database does not answer.
        """
        try:
            async with self._engine.begin() as connection:
                yield connection
        except (IntegrityError, ProgrammingError, DataError):  # the fault of a statement, and not of the database
            raise
        except (DBAPIError, PoolTimeout, OSError, TimeoutError) as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            # Clients see the message, which therefore names no host and no path.
            _log.warning("job_database_failed", database=self.shown, reason=str(cause))
            raise StorageUnavailable(
                "The database of jobs does not answer, or its disk is full; the server's log has the details. Try again later. "
                "(Operator: see jobs.directory, jobs.database.)"
            ) from error

    async def close(self) -> None:
        """Close all connections."""
        await self._engine.dispose()


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
        dialect = parsed.get_backend_name()
    except ArgumentError as error:
        raise _wrong_url("must be a URL, such as postgresql://user:password@host/name") from error
    if dialect not in _DRIVERS:
        raise _wrong_url(f"must be a URL of PostgreSQL or SQLite, got one of {dialect}")
    return parsed


def _wrong_url(message: str) -> InvalidSettings:
    return InvalidSettings("The settings object", [FieldError(field="jobs.database", message=message)])


def _engine(url: URL) -> AsyncEngine:
    if url.get_backend_name() != "sqlite":
        try:
            return create_async_engine(url, pool_pre_ping=True)
        except ModuleNotFoundError as error:
            raise _wrong_url(f"needs {error.name}: pip install 'litestar-diffusion[postgres]'") from error
    engine = create_async_engine(url, connect_args={"timeout": _BUSY_S})
    event.listen(engine.sync_engine, "connect", _configure_sqlite)
    return engine


def _configure_sqlite(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    # What was committed outlives a loss of power.
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()


def _revision(connection: Connection) -> str | None:
    """Return the revision of the schema; None if there is none. Alembic, which takes long to import, need not be asked."""
    if not connection.dialect.has_table(connection, VERSION_TABLE):
        return None
    return connection.execute(select(column("version_num")).select_from(table(VERSION_TABLE))).scalar()


def _upgrade(connection: Connection) -> None:
    from alembic import command  # here, because it takes long to import, and the schema is rarely old
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise StorageUnavailable(
            f"The schema of the database of jobs cannot be brought to {HEAD}: {error}. If a later version of litestar-diffusion "
            "has used it, take that version."
        ) from error
