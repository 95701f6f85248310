"""The page for all: screen readers, phones, keys, other paths, lost servers."""

from typing import Any

import pytest
from playwright.sync_api import expect

from tests.conftest import Server, launch, stop
from tests.page.conftest import WAIT_MS, Open
from tests.page.looking import RESULT, generate

VIEWS = ("#create", "#history", "#memory")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_any_view(server: Server, open_page: Open, scheme: Any) -> None:
    from axe_playwright_python.sync_playwright import Axe

    server.wait_until("/health/ready")
    page = open_page(server, color_scheme=scheme, bypass_csp=True)  # axe is a script that the page does not allow
    page.get_by_text("Presets").click()
    page.get_by_text("As code").click()
    page.get_by_label("Adapters (LoRA)").select_option("outline")
    generate(page, "a (red:1.2) circle <lora:outline:1>")
    for view in VIEWS:
        page.goto(f"{server.url}/{view}")
        page.locator("main section").first.wait_for()
        page.wait_for_timeout(1500)
        found = Axe().run(page, options={"resultTypes": ["violations"]})
        assert found.violations_count == 0, f"{view}: {found.generate_report()}"


@pytest.mark.parametrize("view", VIEWS)
def test_a_phone_of_360_pixels_shows_all_without_scrolling_sideways(server: Server, open_page: Open, view: str) -> None:
    server.wait_until("/health/ready")
    page = open_page(server, view, viewport={"width": 360, "height": 740}, has_touch=True)
    page.locator("main section").first.wait_for()
    page.wait_for_timeout(1000)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    if view == "#create":
        generate(page, "a red circle")
        expect(page.locator(RESULT)).to_be_in_viewport()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_everything_can_be_reached_by_the_keyboard(painter: Any) -> None:
    reached = set[str]()
    for _ in range(45):
        painter.keyboard.press("Tab")
        reached.add(
            painter.evaluate(
                "document.activeElement.innerText || document.activeElement.getAttribute('aria-label') || ''"
            )
        )
    assert {"Create", "History", "Memory"} <= {text.strip() for text in reached}
    assert any("Generate" in text for text in reached)


def test_a_finished_image_is_announced(painter: Any) -> None:
    said = painter.locator(".stage > [role=status]")
    expect(said).to_have_text("")
    generate(painter, "a red circle")
    expect(said).to_have_text("Done: 1 image of a red circle")


def test_a_restart_of_the_server_is_told_and_jobs_go_on(tmp_path: Any, open_page: Open) -> None:
    first = launch(tmp_path)
    second = None
    try:
        first.wait_until("/health/ready")
        page = open_page(first)
        page.get_by_label("Steps").fill("90")
        page.get_by_label("Width").fill("256")
        page.get_by_label("Prompt", exact=True).fill("a red circle")
        page.get_by_role("button", name="Generate").click()
        page.get_by_alt_text("Preview of the unfinished image").wait_for()
        first.process.kill()
        first.process.wait()
        expect(page.locator(".connection")).to_contain_text("does not answer")
        second = launch(tmp_path, port=int(first.url.rpartition(":")[2]))
        expect(page.locator(".connection")).to_contain_text("is back", timeout=WAIT_MS)
        page.locator(RESULT).wait_for()
    finally:
        for server in (first, second):
            if server is not None:
                stop(server)
