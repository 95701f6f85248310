"""One PostgreSQL server for the tests of this folder."""

from collections.abc import Iterator

import pytest

from tests.infra.jobs.postgres import postgres_server


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    with postgres_server() as url:
        yield url
