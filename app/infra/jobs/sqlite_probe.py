"""Looks at an SQLite database, and at whether its folder allows what SQLite needs. Blocks; call it in a worker thread."""

import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from .probe import Unusable
from .tables import VERSION_TABLE

_NOT_WRITABLE = "Let the server's user write the file and its folder, or set jobs.directory to another one."
_NO_WAL = "Set jobs.directory to a folder of a local disk: SQLite's WAL does not work on this one."


def sqlite_revision(file: Path, timeout_s: float) -> str | None:
    """Return the revision of the schema in a file; None if there is no file, or no table in it. Leaves no trace.

    Args:
        file: the database.
        timeout_s: seconds to wait for another process that writes.

    Raises:
        Unusable: it cannot be written, or is not a database.
    """
    _check_folder(next(path for path in file.absolute().parents if path.is_dir()))
    if not file.exists():
        return None
    try:
        # Does not make a file that is removed at this moment.
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=rw", uri=True, timeout=timeout_s)) as connection:
            connection.execute("BEGIN IMMEDIATE")  # as every write begins; rolled back when it is closed
            return _revision(connection)
    except sqlite3.Error as error:
        raise Unusable(str(error), _NOT_WRITABLE) from error


def _revision(connection: sqlite3.Connection) -> str | None:
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (VERSION_TABLE,)).fetchone() is None:
        return None
    found = connection.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchone()  # noqa: S608 - a constant
    return None if found is None else found[0]


def _check_folder(folder: Path) -> None:
    """Write to a database in WAL mode, as the jobs are, in a folder that is removed again."""
    try:
        with tempfile.TemporaryDirectory(prefix=".probe-", dir=folder) as probe:
            mode = _write_with_wal(Path(probe) / "probe.db")
    except OSError as error:
        raise Unusable(f"{folder} cannot be written to: {error.strerror}", _NOT_WRITABLE) from error
    except sqlite3.Error as error:
        raise Unusable(f"SQLite cannot write to {folder}: {error}", _NO_WAL) from error
    if mode != "wal":
        raise Unusable(f"SQLite cannot keep a write-ahead log in {folder}: its journal is {mode!r}", _NO_WAL)


def _write_with_wal(file: Path) -> str:
    """Write to a new database in WAL mode; returns the mode that SQLite has chosen."""
    with closing(sqlite3.connect(file)) as connection:
        (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
        connection.execute("CREATE TABLE probe (id)")
        return mode
