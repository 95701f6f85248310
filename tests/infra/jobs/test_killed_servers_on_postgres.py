"""Jobs in PostgreSQL outlive servers that are killed."""

from pathlib import Path

import pytest

from tests.infra.jobs.postgres import postgres_server
from tests.web.api.killed_servers import kill_20_times


@pytest.mark.slow
def test_every_accepted_job_ends_once_with_its_image_although_the_server_is_killed_20_times(tmp_path: Path) -> None:
    with postgres_server() as url:
        assert kill_20_times(tmp_path, LITESTAR_DIFFUSION__JOBS__DATABASE=url) > 0, (
            "no job ran when a server was killed"
        )
