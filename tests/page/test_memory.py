"""The memory manager, watched."""

from playwright.sync_api import expect

from tests.conftest import StartServer
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
    expect(page.locator(".note.error")).to_contain_text("memory")
    page.get_by_role("button", name="Unpin demo-vpred").click()
    page.get_by_role("button", name="Unload demo-vpred").click()
    expect(page.locator(".components tbody tr")).to_have_count(0)
