"""The whole OpenAPI document against a server with keys: no 5xx, every answer as documented, none without a key."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from litestar_diffusion import create_app, load_settings
from litestar_diffusion.domain.access.api_key import hash_of, new_key
from tests.conftest import Server, launch, stop

schemathesis: Any = pytest.importorskip("schemathesis", reason="uv run --group clients pytest tests/clients")

pytestmark = pytest.mark.slow

KEY = new_key()
SMALL = {
    "LITESTAR_DIFFUSION__KEYS": json.dumps({"root": {"hash": hash_of(KEY), "scopes": ["admin"]}}),
    "LITESTAR_DIFFUSION__LIMITS__MAX_STEPS": "2",
    "LITESTAR_DIFFUSION__LIMITS__MAX_SIDE_PX": "64",
    "LITESTAR_DIFFUSION__LIMITS__MAX_N": "2",
}
"""Images that are made at once, because hundreds of valid requests are sent."""


@pytest.fixture(scope="module")
def small_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = launch(tmp_path_factory.mktemp("schemathesis"), SMALL)
    try:
        running.wait_until("/health/ready")
        yield running
    finally:
        stop(running)


CHECKS: Any = pytest.importorskip("schemathesis.specs.openapi.checks")
UNTOLD = [
    CHECKS.positive_data_acceptance,  # a schema cannot say that sizes are multiples of 8, or that two fields exclude each other
]
LENIENT = {
    "/jobs",  # a time may be seconds since 1970 too
    "/sdapi/v1/extra-batch-images",
    "/sdapi/v1/extra-single-image",
    "/sdapi/v1/options",
}
"""Clients of the web UI send back all that they got, and more: null is as good as absent, and what means nothing is ignored."""
schema = schemathesis.openapi.from_dict(create_app(load_settings(None, SMALL)).openapi_schema.to_schema())


@schema.parametrize()
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
def test_answers_are_as_documented(small_server: Server, case: Any) -> None:
    excluded = [*UNTOLD]
    if case.path in LENIENT:
        excluded.append(CHECKS.negative_data_rejection)
    headers = {"Authorization": f"Bearer {KEY}"}
    case.call_and_validate(base_url=small_server.url, timeout=60, headers=headers, excluded_checks=excluded)
