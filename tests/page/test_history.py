"""The wall of finished jobs."""

import time
from typing import Any

from playwright.sync_api import expect

from tests.conftest import Server
from tests.page.conftest import Open

JOBS = 70


def sent(server: Server, prompt: str) -> str:
    body = {"prompt": prompt, "num_inference_steps": 1, "width": 64, "height": 64}
    return server.client.post("/jobs/demo-turbo", json=body).raise_for_status().json()["url"]


def wall_of(
    server: Server, open_page: Open, word: str, count: int, *, view: str = "#history", height_px: int = 400
) -> Any:
    """The page, once so many jobs with a word in their prompts are listed as done."""
    server.wait_until("/health/ready")
    for number in range(count):
        sent(server, f"{word} number {number}")
    page = open_page(server, view, viewport={"width": 1200, "height": height_px})
    listed = f"jobs?state=done&prompt={word}&limit=100"
    page.wait_for_function(
        "([url, count]) => fetch(url).then(answer => answer.json()).then(jobs => jobs.length === count)",
        arg=[listed, count],
    )
    return page


def test_history_is_paged_searched_opened_compared_and_removed(server: Server, open_page: Open) -> None:
    page = wall_of(server, open_page, "walled", JOBS)
    page.get_by_label("Search prompts").fill("walled")
    tiles = page.locator(".tile")
    expect(tiles).to_have_count(30)
    scroll_until(page, JOBS)
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


def test_a_page_that_a_new_search_cut_off_is_read_all_the_same(server: Server, open_page: Open) -> None:
    page = wall_of(server, open_page, "fresco", 40, view="", height_px=3000)
    held = list[Any]()
    page.route("**/jobs?*after=*", lambda route: route.continue_() if held else held.append(route))
    page.get_by_role("link", name="History").click()
    page.get_by_label("Search prompts").fill("fresco")
    tiles = page.locator(".tile")
    expect(tiles).to_have_count(30)
    expect(page.locator(".wall-end")).to_have_text("Reading…")
    page.get_by_label("Search prompts").fill("fresco n")
    page.get_by_label("Search prompts").fill("fresco")
    expect(tiles).to_have_count(40)
    assert len(held) == 1


def test_a_job_that_ends_joins_the_wall_and_moves_no_other(server: Server, open_page: Open) -> None:
    page = wall_of(server, open_page, "mosaic", 40)
    page.get_by_label("Search prompts").fill("mosaic")
    tiles = page.locator(".tile")
    expect(tiles).to_have_count(30)
    scroll_until(page, 40)
    page.get_by_role("link", name="Create").click()
    page.get_by_label("Prompt", exact=True).fill("mosaic of the page")
    page.get_by_role("button", name="Generate").click()
    page.get_by_role("link", name="History").click()
    expect(tiles).to_have_count(41)
    expect(tiles.first).to_contain_text("mosaic of the page")
    expect(tiles.last).to_contain_text("mosaic number 0")


def test_a_job_that_was_sent_elsewhere_joins_the_wall(server: Server, open_page: Open) -> None:
    page = wall_of(server, open_page, "tapestry", 1)
    page.get_by_label("Search prompts").fill("tapestry")
    tiles = page.locator(".tile")
    expect(tiles).to_have_count(1)
    sent(server, "tapestry of another")
    expect(tiles).to_have_count(2)
    expect(tiles.first).to_contain_text("of another")


def test_a_seed_is_copied_from_a_dialog_without_the_clipboards_api(server: Server, open_page: Open) -> None:
    """Pages over plain HTTP have only `execCommand`."""
    page = wall_of(server, open_page, "copied", 1)
    page.evaluate("Object.defineProperty(Navigator.prototype, 'clipboard', { get: () => undefined })")
    page.evaluate("document.addEventListener('copy', () => (window.copied = document.activeElement.value))")
    page.get_by_label("Search prompts").fill("copied")
    page.locator(".tile-open").first.click()
    page.get_by_role("button", name="Copy seed").click()
    expect(page.get_by_role("button", name="Copied", exact=True)).to_be_focused()
    assert page.evaluate("window.copied").isdigit()


def test_a_dialog_is_closed_by_leaving_its_view(server: Server, open_page: Open) -> None:
    page = wall_of(server, open_page, "left", 1)
    page.locator(".tile-open").first.click()
    expect(page.get_by_role("dialog")).to_be_visible()
    page.evaluate("location.hash = '#create'")
    page.get_by_label("Prompt", exact=True).wait_for()
    page.go_back()
    page.locator(".tile-open").first.wait_for()
    expect(page.get_by_role("dialog")).to_have_count(0)


def scroll_until(page: Any, count: int) -> None:
    """Scroll on until the wall has so many tiles."""
    ended = time.monotonic() + 30
    while page.locator(".tile").count() != count:
        assert time.monotonic() < ended, f"{page.locator('.tile').count()} tiles, not {count}"
        page.mouse.wheel(0, 100_000)
        page.wait_for_timeout(100)
