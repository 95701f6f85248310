"""The schema of the database of jobs: made by migrations, equal to the tables, never touched if it is of a later version."""

import asyncio
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from click.testing import CliRunner
from sqlalchemy import Connection, text

from litestar_diffusion.cli import cli
from litestar_diffusion.domain.errors import StorageUnavailable
from litestar_diffusion.infra.jobs.database import _MIGRATIONS, HEAD, Database, sqlite_url
from litestar_diffusion.infra.jobs.tables import METADATA, VERSION_TABLE


def differences(connection: Connection) -> list[object]:
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    return compare_metadata(context, METADATA)


def test_the_migrations_make_the_tables_that_the_statements_are_for(tmp_path: Path) -> None:
    async def main() -> list[object]:
        database = Database(sqlite_url(tmp_path / "jobs.db"))
        await database.migrate()
        await database.migrate()
        async with database.transaction() as connection:
            found = await connection.run_sync(differences)
        await database.close()
        return found

    assert asyncio.run(main()) == []
    assert ScriptDirectory(str(_MIGRATIONS)).get_current_head() == HEAD


def test_a_database_of_a_later_version_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    async def main() -> None:
        database = Database(sqlite_url(tmp_path / "jobs.db"))
        await database.migrate()
        async with database.transaction() as connection:
            await connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
        with pytest.raises(StorageUnavailable, match="later version"):
            await database.migrate()
        await database.close()

    asyncio.run(main())


def test_clients_are_told_no_host_and_no_log_a_password(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> str:
        database = Database("postgresql://me:secret@127.0.0.1:1/x")
        with pytest.raises(StorageUnavailable) as refused:
            await database.migrate()
        await database.close()
        return refused.value.message

    message, log = asyncio.run(main()), caplog.text
    assert "127.0.0.1" not in message
    assert "127.0.0.1:1/x" in log
    assert "secret" not in message + log


def test_migrate_is_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli, ["migrate"])
    assert (done.exit_code, (tmp_path / "data" / "jobs.db").exists()) == (0, True)
    assert HEAD in done.output
    monkeypatch.setenv("LITESTAR_DIFFUSION__JOBS__DIRECTORY", "")
    assert "memory" in CliRunner().invoke(cli, ["migrate"]).output
