"""Jobs in SQLite outlive servers that are killed. Those in PostgreSQL: tests/infra/jobs."""

from pathlib import Path

import pytest

from tests.web.api.killed_servers import kill_20_times


@pytest.mark.slow
def test_every_accepted_job_ends_once_with_its_image_although_the_server_is_killed_20_times(tmp_path: Path) -> None:
    assert kill_20_times(tmp_path) > 0, "no job ran when a server was killed"
