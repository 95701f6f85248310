"""From the signal to the end of the accepted work the port is open: new work is refused with a reason, the old one is told of."""

import json
import os
import signal
import threading
from collections.abc import Iterator

import httpx
import msgspec
import pytest

from litestar_diffusion.asgi import create_app
from litestar_diffusion.serving.server import make_server
from litestar_diffusion.settings import ModelsSettings, Settings

from .running import SERVER, Running, hold, is_closed, let_go, running, wait_until

BODY = {"prompt": "x", "width": 64, "height": 64, "num_inference_steps": 2}
PATIENT = msgspec.structs.replace(
    SERVER, header_timeout_s=60, body_timeout_s=60, write_timeout_s=60, shutdown_grace_s=60, shutdown_notice_s=0.5
)


@pytest.fixture
def draining(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Running, httpx.Client, str]]:
    """A server that was told to end while a job runs and another one waits; its client, and the job that runs."""
    with running(monkeypatch, PATIENT) as started, httpx.Client(base_url=f"http://127.0.0.1:{started.port}") as client:
        hold(started.server, started.engine)
        job = client.post("/jobs/demo", json=BODY).json()
        wait_until(lambda: client.get(job["url"]).json()["state"] == "running")
        client.post("/jobs/demo", json={**BODY, "width": 128})
        started.server.should_exit = True
        wait_until(lambda: started.services.ending)
        yield started, client, job["url"]


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/generate/demo", ("code", "shutting_down")),
        ("/jobs/demo", ("code", "shutting_down")),
        ("/upscale", ("code", "shutting_down")),
        ("/models/demo/load", ("code", "shutting_down")),
        ("/v1/images/generations", ("error.code", "shutting_down")),
    ],
)
def test_new_work_gets_503_with_retry_after_in_the_shape_of_its_dialect(
    draining: tuple[Running, httpx.Client, str], path: str, code: tuple[str, str]
) -> None:
    answer = draining[1].post(path, json=BODY)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    found = answer.json()
    for name in code[0].split("."):
        found = found[name]
    assert found == code[1]


def test_probes_of_life_succeed_and_those_of_readiness_say_why_they_fail(
    draining: tuple[Running, httpx.Client, str],
) -> None:
    client = draining[1]
    assert client.get("/health/live").status_code == 200
    ready = client.get("/health/ready")
    assert (ready.status_code, ready.json()["detail"]) == (503, "The server is shutting down.")


def test_a_job_that_runs_is_finished_and_its_poller_gets_the_image(
    draining: tuple[Running, httpx.Client, str],
) -> None:
    started, client, url = draining
    let_go(started.server, started.engine)
    wait_until(lambda: client.get(url).json()["state"] == "done")
    assert client.get(url).json()["result"]["images"]


def test_a_job_that_waits_ends_and_its_poller_learns_why(draining: tuple[Running, httpx.Client, str]) -> None:
    client = draining[1]
    [waiting] = [job for job in client.get("/jobs").json() if job["url"] != draining[2]]
    wait_until(lambda: client.get(waiting["url"]).json()["state"] == "failed")
    assert client.get(waiting["url"]).json()["problem"]["code"] == "shutting_down"


def test_a_stream_of_events_goes_on_to_the_end_of_its_job(draining: tuple[Running, httpx.Client, str]) -> None:
    started, client, url = draining
    with client.stream("GET", f"{url}/events") as stream:
        let_go(started.server, started.engine)
        text = "".join(stream.iter_text())
    assert "event: done" in text
    assert json.loads(text.rpartition("data: ")[2])["url"] == url


def test_the_port_stays_open_for_the_notice_and_then_closes(draining: tuple[Running, httpx.Client, str]) -> None:
    started, client, _ = draining
    with started.connect() as idle:
        let_go(started.server, started.engine)
        wait_until(lambda: started.services.dispatcher.depth == 0)
        assert client.get("/health/live").status_code == 200, "the work is done, and pollers may ask once more"
        assert is_closed(idle)
    with pytest.raises(httpx.TransportError):
        client.get("/health/live")


def test_a_server_without_jobs_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    patient = msgspec.structs.replace(PATIENT, shutdown_notice_s=60)
    with running(monkeypatch, patient) as started:
        [thread] = [each for each in threading.enumerate() if each.name.startswith("Thread-") and each.is_alive()][-1:]
        started.server.should_exit = True
        thread.join(10)
        assert not thread.is_alive()


def test_a_third_ctrl_c_waits_for_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's own exit would join the engine's threads."""
    ended: list[str | int] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    settings = Settings(models=ModelsSettings(directory=None, default=None, hub_enabled=False))
    server = make_server(create_app(settings), settings, lambda: ended.append("log written"))
    monkeypatch.setattr(type(server.plugin), "hurried", property(lambda _plugin: True))
    server.should_exit = True
    with server.capture_signals():
        server.handle_exit(signal.SIGINT, None)
        server._captured_signals.clear()  # uvicorn raises them again at the end
    assert ended == ["log written", 130]
