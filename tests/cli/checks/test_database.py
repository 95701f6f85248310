"""`check` looks at the database of jobs before the server does."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from litestar_diffusion.cli.checks.database import database
from litestar_diffusion.domain.errors import InvalidSettings
from litestar_diffusion.infra.jobs.database import HEAD
from litestar_diffusion.infra.jobs.folder import migrate_in
from litestar_diffusion.settings import JobsSettings, Settings


def settings(folder: Path, url: str | None = None) -> Settings:
    return Settings(jobs=JobsSettings(directory=str(folder), database=url))


@pytest.mark.parametrize(
    ("revision", "state", "said"),
    [
        (None, "ok", "no tables yet"),
        (HEAD, "ok", f"has the schema {HEAD}"),
        ("0001", "warning", "litestar-diffusion migrate"),
        ("9999", "failed", "later version"),
    ],
)
def test_an_older_schema_is_a_warning_and_a_later_one_fails(
    tmp_path: Path, revision: str | None, state: str, said: str
) -> None:
    if revision is not None:
        asyncio.run(migrate_in(tmp_path, None))
        with sqlite3.connect(tmp_path / "jobs.db") as connection:
            connection.execute("UPDATE diffusion_version SET version_num = ?", (revision,))
        connection.close()
    [finding] = database(settings(tmp_path))
    assert (finding.state, said in finding.detail + finding.hint) == (state, True), finding


def test_a_database_that_cannot_be_used_fails_and_jobs_in_memory_have_none(tmp_path: Path) -> None:
    [finding] = database(settings(tmp_path, "postgresql://me:secret@127.0.0.1:1/x"))
    assert (finding.state, "jobs.database" in finding.hint) == ("failed", True)
    assert "secret" not in finding.detail
    assert list(database(Settings())) == []


@pytest.mark.parametrize("url", ["no url", "mysql://host/name"])
def test_what_is_no_url_of_a_supported_database_is_a_wrong_setting(tmp_path: Path, url: str) -> None:
    with pytest.raises(InvalidSettings, match=r"jobs\.database: must be a URL"):
        list(database(settings(tmp_path, url)))
