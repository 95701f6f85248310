"""The look at a database says why it cannot be used, and how old its schema is; it changes nothing."""

import asyncio
import socket
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import text

from litestar_diffusion.infra.jobs import sqlite_probe
from litestar_diffusion.infra.jobs.database import HEAD, Database, sqlite_url
from litestar_diffusion.infra.jobs.database_probe import probe_database
from litestar_diffusion.infra.jobs.probe import Probe, Unusable
from litestar_diffusion.infra.jobs.tables import VERSION_TABLE
from tests.infra.jobs.postgres import new_database


def probe(folder: Path, url: str | None = None, timeout_s: float = 5) -> Probe:
    return asyncio.run(probe_database(folder, url, timeout_s))


def migrated(url: str, revision: str = HEAD) -> None:
    async def main() -> None:
        database = Database(url)
        await database.migrate()
        async with database.transaction() as connection:
            await connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '{revision}'"))
        await database.close()

    asyncio.run(main())


@pytest.mark.parametrize(("revision", "schema"), [(HEAD, "current"), ("0001", "older"), ("9999", "later")])
def test_the_age_of_a_schema_is_told(tmp_path: Path, revision: str, schema: str) -> None:
    migrated(sqlite_url(tmp_path / "jobs.db"), revision)
    assert (probe(tmp_path).schema, probe(tmp_path).revision) == (schema, revision)


def test_a_database_that_is_not_there_yet_is_not_made(tmp_path: Path) -> None:
    assert probe(tmp_path / "not" / "yet").schema == "absent"
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_another_process_keeps_locked_is_no_database_or_lies_where_nothing_can_be_written_is_unusable(
    tmp_path: Path,
) -> None:
    migrated(sqlite_url(tmp_path / "jobs.db"))
    other = sqlite3.connect(tmp_path / "jobs.db")
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unusable, match="locked"):
        probe(tmp_path, timeout_s=0.01)
    other.close()
    assert probe(tmp_path).schema == "current", "and nothing is left behind"
    (tmp_path / "jobs.db").write_bytes(b"something else" * 100)
    with pytest.raises(Unusable, match="not a database"):
        probe(tmp_path)
    with pytest.raises(Unusable, match="/proc cannot be written to"):
        probe(Path("/proc/jobs"))


def test_a_file_system_without_shared_memory_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As network file systems do, SQLite keeps its old journal there."""
    monkeypatch.setattr(sqlite_probe, "_write_with_wal", lambda _: "delete")
    with pytest.raises(Unusable, match="write-ahead log") as unusable:
        probe(tmp_path)
    assert "local disk" in unusable.value.hint


def test_a_database_that_does_not_answer_is_given_up_soon(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host, port = silent.getsockname()
        with pytest.raises(Unusable, match=r"no answer within 0\.1 s"):
            probe(tmp_path, f"postgresql://me:secret@{host}:{port}/x", timeout_s=0.1)
    with pytest.raises(Unusable, match="Connect call failed") as refused:
        probe(tmp_path, f"postgresql://me:secret@{host}:{port}/x")
    assert "secret" not in str(refused.value)


def test_what_postgresql_refuses_is_told_with_what_to_do(tmp_path: Path, postgres_url: str) -> None:
    url = new_database(postgres_url)
    assert probe(tmp_path, url).schema == "absent"
    migrated(url, "0001")
    assert probe(tmp_path, url).schema == "older"
    for wrong, said, hint in (
        (url.replace("test@", "stranger@"), "stranger", "the user and the password"),
        (url + "x", "does not exist", "CREATE DATABASE"),
    ):
        with pytest.raises(Unusable, match=said) as unusable:
            probe(tmp_path, wrong)
        assert hint in unusable.value.hint


def test_a_user_who_may_make_no_tables_is_told_before_they_are_needed(tmp_path: Path, postgres_url: str) -> None:
    url = new_database(postgres_url)

    async def let_in(statement: str) -> None:
        database = Database(url)
        async with database.transaction() as connection:
            await connection.execute(text(statement))
        await database.close()

    asyncio.run(let_in("CREATE ROLE reader LOGIN"))
    asyncio.run(let_in("REVOKE CREATE ON SCHEMA public FROM PUBLIC"))
    reader = url.replace("test@", "reader@")
    with pytest.raises(Unusable, match="may not make the tables") as unusable:
        probe(tmp_path, reader)
    assert "GRANT CREATE" in unusable.value.hint
    asyncio.run(let_in("GRANT CREATE ON SCHEMA public TO reader"))
    assert probe(tmp_path, reader).schema == "absent"
