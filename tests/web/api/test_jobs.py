"""Jobs on a real server: sent, followed, cancelled, joined by a key."""

import base64
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.conftest import Server, StartServer
from tests.pictures import images_of, opened, seen_in

pytestmark = pytest.mark.dtype

BODY = {"prompt": "a red circle on a blue background", "seed": 7, "reproducible": True}
LONG = {**BODY, "num_inference_steps": 150}


def events_of(server: Server, url: str, after: int | None = None) -> Iterator[dict[str, Any]]:
    """The events of a job as a browser's EventSource would read them, comments left out."""
    headers = {} if after is None else {"last-event-id": str(after)}
    with httpx.stream("GET", f"{server.url}{url}/events", headers=headers, timeout=60) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        event: dict[str, Any] = {}
        for line in stream.iter_lines():
            name, _, value = line.partition(": ")
            if not line and "event" in event:
                yield event
                event = {}
            elif name == "data":
                event["data"] = json.loads(value)
            elif name in ("id", "event"):
                event[name] = int(value) if name == "id" else value


def wait_for(server: Server, url: str, *states: str) -> dict[str, Any]:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        job = server.client.get(url).json()
        if job["state"] in states:
            return job
        time.sleep(0.02)
    raise AssertionError(f"the job did not become {states}: {job}")


def test_a_job_is_sent_followed_and_fetched(server: Server) -> None:
    sent = server.client.post("/jobs/demo", json=BODY)
    assert sent.status_code == 202
    url = sent.headers["location"]
    assert url == sent.json()["url"] == f"/jobs/{sent.json()['id']}"
    events = list(events_of(server, url))
    assert [event["id"] for event in events] == sorted({event["id"] for event in events})
    assert events[-1]["event"] == "done"
    assert events[-1]["data"] == {"seeds": [7], "url": url}
    steps = [event["data"] for event in events if event["event"] == "step"]
    assert steps[-1] == {"done": 14, "total": 14}
    job = server.client.get(url).json()
    assert (job["state"], job["steps_done"], job["problem"]) == ("done", 14, None)
    assert job["created"] <= job["started"] <= job["ended"]
    assert images_of(job["result"]) == images_of(server.client.post("/generate/demo", json=BODY).json())
    listed = server.client.get("/jobs", params={"state": "done"}).json()
    assert url in [other["url"] for other in listed]
    assert not any("result" in other for other in listed)


def test_the_images_of_a_job_are_files_whole_and_small(server: Server) -> None:
    job = server.client.post("/jobs/demo", json={**BODY, "n": 2, "width": 256}).json()
    assert (job["prompt"], job["image_urls"]) == (BODY["prompt"], [])
    assert server.client.get(f"{job['url']}/images/0").status_code in (200, 404), "404 until it is done"
    done = wait_for(server, job["url"], "done")
    assert done["image_urls"] == [f"{job['url']}/images/0", f"{job['url']}/images/1"]
    whole, small = (server.client.get(done["image_urls"][1], params=query) for query in ({}, {"width": 64}))
    assert whole.content == images_of(done["result"])[1]
    assert (whole.headers["content-type"], small.headers["content-type"]) == ("image/png", "image/webp")
    assert "immutable" in whole.headers["cache-control"]
    assert opened(small.content).size == (64, 32)
    missing = server.client.get(f"{job['url']}/images/2")
    assert (missing.status_code, missing.json()["code"]) == (404, "unknown_image")
    assert "has 2 images" in missing.json()["detail"]


def test_jobs_are_found_by_their_prompt(server: Server) -> None:
    job = server.client.post("/jobs/demo", json={**BODY, "prompt": "a GREEN square, unique 5f1c"}).json()
    found = server.client.get("/jobs", params={"prompt": "green square, unique 5f1c"}).json()
    assert [each["id"] for each in found] == [job["id"]]


def test_jobs_are_listed_page_by_page_and_by_model_state_and_time(server: Server) -> None:
    sent = [server.client.post("/jobs/demo", json=BODY).json() for _ in range(5)]
    wait_for(server, sent[-1]["url"], "done")
    found, url = list[str](), f"/jobs?limit=2&model=demo&created_from={quote(sent[0]['created'])}"
    while url:
        page = server.client.get(url)
        assert page.status_code == 200
        found += [job["id"] for job in page.json()]
        url = page.links["next"]["url"] if "link" in page.headers else ""
    assert found == [job["id"] for job in reversed(sent)]
    before = server.client.get("/jobs", params={"created_before": sent[1]["created"], "limit": 1}).json()
    assert [job["id"] for job in before] == [sent[0]["id"]]
    assert server.client.get("/jobs", params={"model": "nope"}).json() == []
    for wrong in ({"after": "x y"}, {"limit": 0}, {"limit": 501}, {"created_from": "yesterday"}):
        assert server.client.get("/jobs", params=wrong).status_code == 400, wrong


def test_whoever_comes_back_gets_the_events_after_the_last_one_known(server: Server) -> None:
    url = server.client.post("/jobs/demo", json=BODY).headers["location"]
    everything = list(events_of(server, url))
    known = everything[len(everything) // 2]["id"]
    assert list(events_of(server, url, known)) == [event for event in everything if event["id"] > known]
    last = server.client.get(f"{url}/events", headers={"last-event-id": str(everything[-1]["id"])})
    assert (last.status_code, last.content) == (204, b""), "what keeps a browser from asking again for ever"


def test_generate_answers_at_once_where_that_is_preferred(server: Server) -> None:
    sent = server.client.post("/generate/demo", json=BODY, headers={"prefer": "wait=1, respond-async"})
    assert sent.status_code == 202
    assert sent.headers["preference-applied"] == "respond-async"
    assert wait_for(server, sent.headers["location"], "done")["result"]["images"]


def test_a_wrong_request_never_becomes_a_job(server: Server) -> None:
    wrong = server.client.post("/jobs/demo", json={**BODY, "n": 99, "width": 100})
    assert wrong.status_code == 400
    assert {error["field"] for error in wrong.json()["errors"]} == {"n", "width"}
    assert server.client.post("/jobs/nope", json=BODY).status_code == 404
    assert server.client.post("/jobs/demo", json=BODY, headers={"idempotency-key": ""}).status_code == 400
    assert server.client.get("/jobs", params={"state": "asleep"}).status_code == 400


def test_a_job_is_answered_in_json_whatever_images_its_sender_accepts(server: Server) -> None:
    headers = {"prefer": "respond-async", "accept": "image/webp"}
    sent = server.client.post("/generate/demo", json={**BODY, "n": 2}, headers=headers)
    assert sent.status_code == 202
    result = wait_for(server, sent.headers["location"], "done")["result"]
    assert [image["media_type"] for image in result["images"]] == ["image/png"] * 2


def test_a_stream_is_one_line_of_the_log_and_so_is_the_end_of_a_job(server: Server) -> None:
    url = server.client.post("/jobs/demo", json=BODY).headers["location"]
    list(events_of(server, url))
    job_id = url.rpartition("/")[2]

    def lines() -> list[dict[str, Any]]:
        return [json.loads(line) for line in server.log.read_text().splitlines() if job_id in line]

    deadline = time.monotonic() + 5
    while len(lines()) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)  # the line is written after the response has been sent
    told = {(line["event"], line.get("path"), line.get("status"), line.get("state")) for line in lines()}
    assert len(lines()) == 3
    assert told == {
        ("request", "/jobs/demo", 202, None),
        ("request", f"{url}/events", 200, None),
        ("job_ended", None, None, "done"),
    }


def test_a_job_that_is_cancelled_ends_soon_and_is_then_forgotten(server: Server) -> None:
    url = server.client.post("/jobs/demo", json=LONG).headers["location"]
    wait_for(server, url, "running")
    cancelled = server.client.delete(url).json()
    assert cancelled["state"] == "cancelled"
    assert cancelled["steps_done"] < 150
    assert list(events_of(server, url))[-1]["event"] == "cancelled"
    assert server.client.get(url).json()["problem"]["code"] == "cancelled"
    assert server.client.delete(url).status_code == 200
    assert server.client.get(url).status_code == 410
    assert server.client.get(url).json()["code"] == "expired_job"
    assert server.client.get("/jobs/never").json()["code"] == "unknown_job"


def test_previews_look_ever_more_like_the_image(server: Server) -> None:
    body = {**BODY, "num_inference_steps": 60, "previews": True}
    url = server.client.post("/jobs/demo", json=body).headers["location"]
    previews = [event["data"] for event in events_of(server, url) if event["event"] == "preview"]
    assert previews
    last = opened(base64.b64decode(previews[-1]["image"]))
    assert (last.width, last.height) == (previews[-1]["width"], previews[-1]["height"])
    assert last.format == "JPEG"
    final = images_of(server.client.get(url).json()["result"])[0]
    corner = opened(final).convert("RGB").getpixel((2, 2))
    assert isinstance(corner, tuple)
    seen = last.convert("RGB").getpixel((2, 2))
    assert isinstance(seen, tuple)
    assert max(abs(one - other) for one, other in zip(corner, seen, strict=True)) < 80
    assert seen_in(final).background == "blue"


def test_a_key_joins_the_work_in_flight_and_gets_the_answer_afterwards(server: Server) -> None:
    headers = {"idempotency-key": "one"}
    body = {**BODY, "seed": None}  # a random seed: only the same work gives the same image
    with ThreadPoolExecutor(2) as pool:
        answers = list(
            pool.map(lambda _: server.client.post("/generate/demo", json=body, headers=headers).json(), range(2))
        )
    again = server.client.post("/generate/demo", json=body, headers=headers).json()
    assert images_of(answers[0]) == images_of(answers[1]) == images_of(again)
    assert answers[0]["id"] == answers[1]["id"] == again["id"]
    other = server.client.post("/generate/demo", json={**body, "prompt": "y"}, headers=headers)
    assert other.status_code == 409
    assert other.json()["code"] == "idempotency_conflict"


def test_work_goes_on_for_those_who_stay_and_ends_when_the_last_one_leaves(server: Server) -> None:
    headers = {"idempotency-key": "stay"}

    def ask(timeout_s: float) -> httpx.Response | None:
        try:
            return httpx.post(
                f"{server.url}/generate/demo",
                json={**LONG, "num_inference_steps": 60},
                headers=headers,
                timeout=timeout_s,
            )
        except httpx.ReadTimeout:
            return None

    with ThreadPoolExecutor(2) as pool:
        leaving, staying = pool.submit(ask, 0.5), pool.submit(ask, 60)
        assert leaving.result() is None
        answer = staying.result()
    assert answer is not None
    assert answer.status_code == 200

    headers = {"idempotency-key": "leave"}
    assert ask(0.3) is None
    deadline = time.monotonic() + 10
    while server.client.get("/").json()["waiting"] and time.monotonic() < deadline:
        time.sleep(0.05)
    assert server.client.get("/").json()["waiting"] == 0


def test_a_listener_that_does_not_read_delays_nobody(server: Server) -> None:
    url = server.client.post("/jobs/demo", json={**BODY, "num_inference_steps": 100}).headers["location"]
    with httpx.stream("GET", f"{server.url}{url}/events", timeout=60):
        fast = list(events_of(server, url))
        assert fast[-1]["event"] == "done"


@pytest.mark.slow
def test_streams_end_with_the_server(start_server: StartServer) -> None:
    server = start_server(
        LITESTAR_DIFFUSION__SERVER__SHUTDOWN_GRACE_S="0.5", LITESTAR_DIFFUSION__JOBS__KEEP_ALIVE_S="0.2"
    )
    server.wait_until("/health/ready")
    url = server.client.post("/jobs/demo", json={**LONG, "n": 8}).headers["location"]
    found: list[dict[str, Any]] = []
    listening = threading.Thread(target=lambda: found.extend(events_of(server, url)))
    listening.start()
    wait_for(server, url, "running")
    deadline = time.monotonic() + 30
    while not found and time.monotonic() < deadline:  # on a busy machine the listener may connect late
        time.sleep(0.05)
    server.process.terminate()
    listening.join(30)
    assert not listening.is_alive()
    assert not any(event["event"] in ("done", "failed", "cancelled") for event in found), (
        "it goes on after the next start"
    )
    assert server.process.wait(30) is not None
