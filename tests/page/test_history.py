"""The wall of finished jobs."""

from typing import Any

from playwright.sync_api import expect

from tests.conftest import Server
from tests.page.conftest import Open

JOBS = 70


def sent(server: Server, prompt: str) -> str:
    body = {"prompt": prompt, "num_inference_steps": 1, "width": 64, "height": 64}
    return server.client.post("/jobs/demo-turbo", json=body).raise_for_status().json()["url"]


def test_history_is_paged_searched_opened_compared_and_removed(server: Server, open_page: Open) -> None:
    server.wait_until("/health/ready")
    for number in range(JOBS):
        url = sent(server, f"walled number {number}")
    page = open_page(server, "#history", viewport={"width": 1200, "height": 700})
    page.wait_for_function("url => fetch(url).then(answer => answer.json()).then(job => job.state === 'done')", arg=url)
    page.get_by_label("Search prompts").fill("walled")
    tiles = page.locator(".tile")
    expect(tiles).to_have_count(30)
    scrolled_to_the_end(page)
    expect(tiles).to_have_count(JOBS)
    assert page.locator(".tile img").first.evaluate("image => image.naturalWidth") == 64
    page.get_by_label("Search prompts").fill("NUMBER 69")
    expect(tiles).to_have_count(1)
    tiles.first.locator(".tile-open").click()
    dialog = page.get_by_role("dialog", name="A finished job")
    expect(dialog).to_contain_text("walled number 69")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    page.get_by_label("Search prompts").fill("walled number 6")
    expect(tiles).to_have_count(11)
    for index in (0, 1):
        tiles.nth(index).get_by_role("button", name="Compare this image").click()
    page.get_by_role("button", name="Compare 2 of 2").click()
    page.get_by_label("Share of the first image").fill("20")
    assert "80%" in page.locator(".compare-left").evaluate("element => element.style.clipPath")
    page.keyboard.press("Escape")
    tiles.first.locator(".tile-open").click()
    page.get_by_role("button", name="Remove from the history").click()
    expect(tiles).to_have_count(10)


def scrolled_to_the_end(page: Any) -> None:
    for _ in range(6):
        page.mouse.wheel(0, 100_000)
        page.wait_for_timeout(150)
