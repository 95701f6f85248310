"""`callback_url`: a job tells an address of its end, signed; on fake engines and a real socket."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from litestar_diffusion import DiffusionConfig, DiffusionPlugin, Settings
from litestar_diffusion.settings import WebhooksSettings
from litestar_diffusion.testing import fake_services
from tests.domain.jobs.webhooks.test_webhooks import SECRET

LOCAL = WebhooksSettings(allowed_hosts=("127.0.0.1",), secret=SECRET, allow_private=True)
JOBS_ONLY = [("/jobs/demo", {}), ("/generate/demo", {"prefer": "respond-async"})]


@contextmanager
def serving(webhooks: WebhooksSettings) -> Iterator[TestClient[Litestar]]:
    config = DiffusionConfig(
        settings=Settings(webhooks=webhooks), build=lambda settings: fake_services(settings=settings)
    )
    with TestClient(Litestar(plugins=[DiffusionPlugin(config)])) as client:
        yield client


@contextmanager
def receiver() -> Iterator[tuple[str, list[tuple[dict[str, str], Any]], threading.Event]]:
    heard: list[tuple[dict[str, str], Any]] = []
    arrived = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            heard.append(({name.lower(): value for name, value in self.headers.items()}, json.loads(body)))
            self.send_response(204)
            self.end_headers()
            arrived.set()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/done", heard, arrived
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(("path", "headers"), JOBS_ONLY, ids=["jobs", "prefer"])
def test_a_job_tells_its_end(path: str, headers: dict[str, str]) -> None:
    with receiver() as (url, heard, arrived), serving(LOCAL) as client:
        sent = client.post(path, json={"prompt": "x", "callback_url": url}, headers=headers)
        assert sent.status_code == 202
        assert arrived.wait(20)
        ((told_by, message),) = heard
        assert (message["type"], message["data"]["id"]) == ("job.done", sent.json()["id"])
        assert told_by["webhook-id"] == f"msg_{sent.json()['id']}"


def test_a_callback_is_refused_if_its_host_is_not_allowed_and_for_requests_that_wait() -> None:
    def wrong(client: TestClient[Litestar], path: str, url: str) -> str:
        answer = client.post(path, json={"prompt": "x", "callback_url": url})
        assert answer.status_code == 400
        (error,) = answer.json()["errors"]
        assert error["field"] == "callback_url"
        return error["message"]

    with serving(WebhooksSettings()) as client:
        assert "webhooks.allowed_hosts" in wrong(client, "/jobs/demo", "https://app.example.org/")
        assert client.get("/jobs").json() == []
    with serving(LOCAL) as client:
        assert "not allowed" in wrong(client, "/jobs/demo", "https://app.example.org/")
        assert "Prefer: respond-async" in wrong(client, "/generate/demo", "http://127.0.0.1/")
