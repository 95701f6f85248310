"""The memory manager, watched."""

from playwright.sync_api import expect

from tests.conftest import Server, StartServer
from tests.page.conftest import Open


def test_an_eviction_is_seen_to_happen_with_its_reason(
    start_server: StartServer, one_model: dict[str, str], open_page: Open
) -> None:
    server = start_server(**one_model)
    server.wait_until("/health/ready")
    page = open_page(server, "#memory")
    page.get_by_role("button", name="Load demo", exact=True).click()
    expect(page.locator(".components tbody tr")).to_have_count(4)
    expect(page.locator(".badge", has_text="next")).to_have_count(1)
    page.get_by_role("button", name="Load demo-vpred", exact=True).click()
    decisions = page.locator(".decisions")
    expect(decisions).to_contain_text("to make room for demo-vpred")
    expect(page.get_by_role("row", name="demo disk")).to_be_visible()
    page.get_by_role("button", name="Pin demo-vpred").click()
    expect(page.locator(".components .badge", has_text="pinned")).to_have_count(4)
    page.get_by_role("button", name="Load demo", exact=True).click()
    refusal = page.locator(".note.error")
    expect(refusal).to_contain_text("memory")
    with page.expect_response("**/pool"):
        pass
    with page.expect_response("**/pool"):
        pass
    expect(refusal).to_contain_text("memory")
    page.get_by_role("button", name="Unpin demo-vpred").click()
    expect(refusal).to_have_count(0)
    page.get_by_role("button", name="Unload demo-vpred").click()
    expect(page.locator(".components tbody tr")).to_have_count(0)


def test_a_server_without_books_shows_its_line(server: Server, open_page: Open) -> None:
    """An ingress of a cluster has no `GET /pool`."""
    page = open_page(server)
    page.route("**/pool", lambda route: route.fulfill(status=404, json={"detail": "There is no such route."}))
    page.get_by_role("link", name="Memory").click()
    expect(page.locator(".memory")).to_contain_text("each worker keeps and logs its own")
    expect(page.locator(".memory")).to_contain_text("No jobs wait.")
    expect(page.locator(".note.error")).to_have_count(0)


def test_requests_that_are_no_jobs_of_this_client_are_told_from_none(server: Server, open_page: Open) -> None:
    server.wait_until("/health/ready")
    page = open_page(server)
    page.route("**/pool", lambda route: route.fulfill(json={**route.fetch().json(), "leases": 1}))
    page.get_by_role("link", name="Memory").click()
    expect(page.locator(".memory")).to_contain_text("1 running")
    expect(page.locator(".memory")).to_contain_text("None of them is a job of yours.")
