"""Jobs that are followed through lost answers, and a server that is away."""

import re
from typing import Any

from playwright.sync_api import expect

from tests.conftest import Server
from tests.page.conftest import Open
from tests.page.looking import RESULT, generate

LONG = {"num_inference_steps": 150, "width": 512, "height": 512}
JOBS = 8
AWAY = "<html>502 Bad Gateway</html>"


def test_many_unfinished_jobs_hold_one_connection(server: Server, open_page: Open) -> None:
    """Browsers open six connections to a server, for all tabs together."""
    server.wait_until("/health/ready")
    page = open_page(server)
    bodies = [{"prompt": f"a crowd, number {number}", **LONG} for number in range(JOBS)]
    urls = [server.client.post("/jobs/demo", json=body).raise_for_status().json()["url"] for body in bodies]
    streams = set[str]()
    page.on("request", lambda request: request.url.endswith("/events") and streams.add(request.url))
    for event in ("requestfinished", "requestfailed"):
        page.on(event, lambda request: streams.discard(request.url))
    page.reload()
    expect(page.locator(".strip-item")).to_have_count(JOBS)
    page.get_by_role("link", name="History").click()
    expect(page.locator(".wall-end")).not_to_have_text("Reading…")
    assert len(streams) == 1
    for url in urls:
        server.client.delete(url).raise_for_status()
    page.get_by_role("link", name="Create").click()
    expect(page.locator(".strip-item.cancelled")).to_have_count(JOBS)


def test_a_hidden_page_reads_no_events_and_goes_on_when_it_is_seen(server: Server, open_page: Open) -> None:
    server.wait_until("/health/ready")
    page = open_page(server)
    page.get_by_label("Steps").fill("150")
    page.get_by_label("Width").fill("256")
    page.get_by_label("Prompt", exact=True).fill("a red circle")
    page.evaluate("Object.defineProperty(document, 'visibilityState', { get: () => window.seen ?? 'visible' })")
    with page.expect_request("**/events") as begun:
        page.get_by_role("button", name="Generate").click()
    with page.expect_event("requestfailed", lambda request: request == begun.value):
        page.evaluate("window.seen = 'hidden'; document.dispatchEvent(new Event('visibilitychange'))")
    page.evaluate("window.seen = 'visible'; document.dispatchEvent(new Event('visibilitychange'))")
    page.locator(RESULT).wait_for()


def test_images_are_asked_for_again_if_the_answer_with_them_is_lost(painter: Any) -> None:
    answers = [lambda route: route.abort(), lambda route: route.fulfill(status=503, json={"code": "overloaded"})]
    lost = list(answers)
    job = re.compile(r"/jobs/[^/?]+$")
    painter.route(
        job, lambda route: lost.pop(0)(route) if route.request.method == "GET" and lost else route.continue_()
    )
    generate(painter, "a red circle")
    assert lost == []


def test_a_proxy_without_its_server_is_told_until_it_is_back(painter: Any) -> None:
    painter.route("**/models", lambda route: route.fulfill(status=502, body=AWAY, content_type="text/html"))
    expect(painter.locator(".connection")).to_contain_text("does not answer")
    expect(painter.locator(".server .dot.cold")).to_have_count(1)
    painter.unroute_all()
    expect(painter.locator(".connection")).to_contain_text("is back")


def test_an_answer_that_is_no_json_ends_no_polling(painter: Any) -> None:
    painter.route("**/models", lambda route: route.fulfill(body=AWAY, content_type="text/html"))
    expect(painter.locator(".connection")).to_contain_text("does not answer")
    painter.unroute_all()
    expect(painter.locator(".connection")).to_contain_text("is back")


def test_history_and_its_images_are_read_again_after_lost_answers(painter: Any, server: Server) -> None:
    generate(painter, "a fresco that is lost for a while")
    lists = re.compile(r"/jobs\?state=done")
    painter.route(lists, lambda route: route.abort())
    painter.get_by_role("link", name="History").click()
    expect(painter.locator(".history .note.error")).to_contain_text("does not answer")
    lost = ["once"]
    painter.route("**/*width=320", lambda route: route.abort() if lost and lost.pop() else route.continue_())
    painter.unroute(lists)
    expect(painter.locator(".tile img").first).to_be_visible()
    expect(painter.locator(".history .note.error")).to_have_count(0)
    expect(painter.locator(".gone")).to_have_count(0)
