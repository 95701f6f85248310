"""A browser, and pages that may neither log errors nor ask other hosts."""

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.conftest import Server

try:
    from playwright import sync_api
except ModuleNotFoundError:
    collect_ignore_glob = ["test_*.py"]  # `uv run pytest` without the group `page`

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
EXPECTED = ("Failed to load resource", "net::ERR_")
"""What a browser itself logs of answers with 4xx and of lost connections, which some tests bring about."""
WAIT_MS = 30_000
"""Milliseconds for anything to appear; the machine may be busy."""

Open = Callable[..., Any]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/page/" in item.nodeid:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    sync_api.expect.set_options(timeout=WAIT_MS)
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Open]:
    """Opens the page of a server; at the end, none may have logged an error or asked another host."""
    wrong, contexts = list[str](), list[Any]()

    def watch(page: Any, server: Server) -> None:
        page.on("pageerror", lambda error: wrong.append(f"{error}"))
        page.on("console", lambda said: _note_console(said, wrong))
        page.on("request", lambda request: _note_request(request.url, server.url, wrong))

    def open_page(server: Server, view: str = "", **context: Any) -> Any:
        contexts.append(browser.new_context(**context))
        page = contexts[-1].new_page()
        page.set_default_timeout(WAIT_MS)
        watch(page, server)
        page.goto(f"{server.url}/{view}")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []


def _note_console(said: Any, wrong: list[str]) -> None:
    if said.type in ("error", "warning") and not any(part in said.text for part in EXPECTED):
        wrong.append(said.text)


def _note_request(url: str, own: str, wrong: list[str]) -> None:
    if not url.startswith((own, "data:", "blob:")):
        wrong.append(f"asked {url}")


@pytest.fixture
def painter(server: Server, open_page: Open) -> Any:
    """The page of the shared server, once the model's defaults are known."""
    server.wait_until("/health/ready")
    page = open_page(server, viewport={"width": 1280, "height": 900})
    page.get_by_label("Steps").wait_for()
    page.locator('input[placeholder="14"]').wait_for()
    return page
