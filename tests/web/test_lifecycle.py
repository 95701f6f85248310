"""Beginning and end: first requests, clients that leave, Ctrl+C, full queues."""

import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import pytest

from tests.conftest import Server, StartServer

pytestmark = pytest.mark.dtype

PROMPT = {"prompt": "a red circle on a blue background"}
NOTHING_LOADED = {"LITESTAR_DIFFUSION__MODELS__DEFAULT": ""}


def long(steps: int = 150, n: int = 8) -> dict[str, object]:
    return {**PROMPT, "num_inference_steps": steps, "n": n}


def wait_for_work(server: Server, count: int = 1) -> None:
    """Wait until that many requests are in the dispatcher."""
    deadline = time.monotonic() + 60
    while server.client.get("/").json()["waiting"] < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.slow
def test_many_first_requests_load_a_model_once(start_server: StartServer) -> None:
    server = start_server(**NOTHING_LOADED)
    server.wait_until("/health/live")
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda seed: server.client.post("/generate/demo", json={**PROMPT, "seed": seed}), range(8))
        )
    assert [answer.status_code for answer in answers] == [200] * 8
    assert "cold" in {answer.json()["residency"] for answer in answers}  # any of the eight may have come first
    assert server.log_with('"event":"model_loaded"').count('"event":"model_loaded"') == 1


def test_work_stops_when_its_client_leaves_and_the_next_image_is_the_same(server: Server) -> None:
    before = server.client.post("/generate/demo", json={**PROMPT, "seed": 1}).json()["images"]
    leaver = threading.Thread(target=_leave_early, args=(server,))
    leaver.start()
    wait_for_work(server)
    leaver.join()
    begun = time.monotonic()
    after = server.client.post("/generate/demo", json={**PROMPT, "seed": 1}).json()["images"]
    assert after == before
    assert time.monotonic() - begun < 20, "the abandoned request would have taken far longer"
    assert server.client.get("/").json()["waiting"] == 0


def _leave_early(server: Server) -> None:
    try:
        httpx.post(f"{server.url}/generate/demo", json=long(), timeout=1.0)
    except httpx.TimeoutException:
        return
    raise AssertionError("the request was done before its client could leave")


def test_ctrl_c_ends_the_server_cleanly_with_requests_in_flight(start_server: StartServer) -> None:
    server = start_server(LITESTAR_DIFFUSION__SERVER__SHUTDOWN_GRACE_S="0.5")
    server.wait_until("/health/ready")
    with ThreadPoolExecutor(3) as pool:
        answers = [pool.submit(httpx.post, f"{server.url}/generate/demo", json=long(), timeout=120) for _ in range(3)]
        wait_for_work(server, 3)
        server.process.send_signal(signal.SIGINT)
        problems = [answer.result() for answer in answers]
    assert server.process.wait(30) in (0, -signal.SIGINT, 130)
    assert {answer.status_code for answer in problems} == {503}
    assert {answer.json()["code"] for answer in problems} == {"shutting_down"}
    assert {answer.headers["retry-after"] for answer in problems} == {"5"}
    assert "Traceback" not in server.log.read_text()


@contextmanager
def followed(server: Server, job: Any) -> Iterator[httpx.Response]:
    """Open the stream of a job's events."""
    with httpx.stream("GET", f"{server.url}{job['url']}/events", timeout=120) as stream:
        yield stream


@pytest.mark.slow
def test_ctrl_c_ends_event_streams_and_waiting_jobs_too(start_server: StartServer) -> None:
    server = start_server(LITESTAR_DIFFUSION__SERVER__SHUTDOWN_GRACE_S="0.5", LITESTAR_DIFFUSION__JOBS__DIRECTORY="")
    server.wait_until("/health/ready")
    jobs = [server.client.post("/jobs/demo", json=long()).json() for _ in range(3)]
    with ExitStack() as stack:
        streams = [stack.enter_context(followed(server, job)) for job in jobs]
        server.process.send_signal(signal.SIGINT)
        events = ["".join(stream.iter_text()) for stream in streams]
    assert server.process.wait(30) in (0, -signal.SIGINT, 130)
    assert [text for text in events if "shutting_down" not in text] == []
    assert "Traceback" not in server.log.read_text()


@pytest.mark.slow
def test_under_plain_uvicorn_work_is_finished_before_the_server_ends(start_server: StartServer) -> None:
    server = start_server("litestar_diffusion.asgi:create_app")
    server.wait_until("/health/ready")
    job = server.client.post("/jobs/demo", json=long(steps=10, n=1)).json()
    with followed(server, job) as stream:
        server.process.send_signal(signal.SIGTERM)
        events = "".join(stream.iter_text())
    assert server.process.wait(60) in (0, -signal.SIGTERM)
    assert "event: done" in events


@pytest.mark.slow
def test_a_full_queue_says_when_to_come_back(start_server: StartServer) -> None:
    server = start_server(LITESTAR_DIFFUSION__LIMITS__MAX_WAITING="1")
    server.wait_until("/health/ready")
    with ThreadPoolExecutor(2) as pool:
        waiting = [
            pool.submit(
                httpx.post, f"{server.url}/generate/demo", json={**long(n=1), "reproducible": True}, timeout=120
            )
            for _ in range(2)
        ]
        wait_for_work(server, 2)
        refused = server.client.post("/generate/demo", json=PROMPT)
        assert refused.status_code == 503
        assert refused.json()["code"] == "queue_full"
        eviction_preview = server.client.post("/generate/demo?dry_run=true", json=PROMPT)
        assert (eviction_preview.status_code, eviction_preview.json()["code"]) == (503, "queue_full")
        assert int(refused.headers["retry-after"]) >= 1
        assert {answer.result().status_code for answer in waiting} == {200}


@pytest.mark.slow
def test_a_default_model_that_does_not_exist_is_said_and_not_fatal(start_server: StartServer) -> None:
    server = start_server(LITESTAR_DIFFUSION__MODELS__DEFAULT="nope")
    server.wait_until("/health/live")
    assert server.client.post("/generate/demo", json=PROMPT).status_code == 200
    ready = server.client.get("/health/ready")
    assert ready.status_code == 503
    assert "nope" in ready.json()["detail"]
    assert '"event":"default_model_unusable"' in server.log_with("default_model_unusable")
