"""A PostgreSQL server for the tests, in a folder of its own; started once a test run, if Debian's `postgresql` is installed."""

import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import free_port


def _program(name: str) -> str | None:
    installed = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(installed[-1]) if installed else shutil.which(name)


def _as_user(command: list[str], folder: Path) -> None:
    """PostgreSQL does not run as root."""
    drop = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.getuid() == 0 else []
    subprocess.run([*drop, *command], check=True, cwd=folder, capture_output=True, timeout=60)


@contextmanager
def postgres_server() -> Iterator[str]:
    """Start a server; yields the URL of its first database."""
    # Not below pytest's own folders: those are closed to other users, and the oldest are removed by later test runs.
    with tempfile.TemporaryDirectory(prefix="postgres-") as folder:
        yield from _served(Path(folder))


def _served(folder: Path) -> Iterator[str]:
    initdb, pg_ctl = _program("initdb"), _program("pg_ctl")
    if initdb is None or pg_ctl is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    data, port = folder / "data", free_port()
    data.mkdir()
    if os.getuid() == 0:
        folder.chmod(0o755)
        shutil.chown(data, "postgres", "postgres")
    _as_user([initdb, "-D", str(data), "-U", "test", "--auth=trust", "--no-sync"], data)
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={data} -c fsync=off"
    _as_user([pg_ctl, "-D", str(data), "-w", "-l", str(data / "log"), "-o", options, "start"], data)
    try:
        yield f"postgresql://test@127.0.0.1:{port}/postgres"
    finally:
        _as_user([pg_ctl, "-D", str(data), "-m", "immediate", "stop"], data)


def new_database(server_url: str) -> str:
    """Make a database; returns its URL."""
    import asyncio

    import asyncpg

    name = f"t{uuid.uuid4().hex}"

    async def make() -> None:
        connection = await asyncpg.connect(server_url)
        await connection.execute(f"CREATE DATABASE {name}")
        await connection.close()

    asyncio.run(make())
    return server_url.rpartition("/")[0] + f"/{name}"
