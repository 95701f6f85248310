"""Servers with keys: who sees what, and until when."""

import json
from typing import Any

import pytest
from playwright.sync_api import expect

from litestar_diffusion.domain.access.api_key import hash_of, new_key
from tests.conftest import Server, StartServer
from tests.page.conftest import Open
from tests.page.looking import RESULT, generate

KEYS = {name: new_key() for name in ("alice", "bob")}


@pytest.fixture
def keyed_server(start_server: StartServer) -> Server:
    keys = {name: {"hash": hash_of(key), "scopes": ["generate", "read"]} for name, key in KEYS.items()}
    server = start_server(LITESTAR_DIFFUSION__KEYS=json.dumps(keys))
    server.client.headers["authorization"] = f"Bearer {KEYS['alice']}"
    server.wait_until("/health/ready")
    return server


def sign_in(page: Any, key: str) -> None:
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Sign in").click()


def sign_out(page: Any) -> None:
    page.get_by_role("button", name="Sign out").click()


def test_a_key_is_asked_for_and_ends_with_the_tab(keyed_server: Server, open_page: Open) -> None:
    page = open_page(keyed_server)
    sign_in(page, "ld-wrong")
    expect(page.locator(".note.error")).to_contain_text("does not know")
    sign_in(page, KEYS["alice"])
    page.get_by_label("Steps").wait_for()
    generate(page, "a red circle")
    page.get_by_role("link", name="History").click()
    expect(page.locator(".tile img")).to_have_count(1)
    kept = page.evaluate("Object.values(localStorage).join()")
    assert KEYS["alice"] not in kept
    assert "a red circle" not in kept
    sign_out(page)
    expect(page.get_by_label("API key")).to_be_visible()


def test_another_key_sees_nothing_of_the_one_before(keyed_server: Server, open_page: Open) -> None:
    page = open_page(keyed_server)
    sign_in(page, KEYS["alice"])
    page.get_by_label("Steps").wait_for()
    generate(page, "a secret of alice")
    page.get_by_role("link", name="History").click()
    page.locator(".tile-open").first.click()
    expect(page.get_by_role("dialog")).to_contain_text("a secret of alice")
    page.keyboard.press("Escape")
    sign_out(page)
    sign_in(page, KEYS["bob"])
    expect(page.locator(".history")).to_contain_text("No images yet.")
    page.get_by_role("link", name="Create").click()
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("")
    expect(page.locator(".stage")).to_contain_text("Your images appear here.")
    assert page.evaluate("JSON.stringify([localStorage, sessionStorage])").find("secret") == -1


def test_a_job_goes_on_after_its_key_was_refused_for_a_while(keyed_server: Server, open_page: Open) -> None:
    page = open_page(keyed_server)
    sign_in(page, KEYS["alice"])
    page.get_by_label("Steps").fill("60")
    page.get_by_label("Width").fill("256")
    page.get_by_label("Prompt", exact=True).fill("a red circle")
    page.get_by_role("button", name="Generate").click()
    page.get_by_alt_text("Preview of the unfinished image").wait_for()
    refusal = {"status": 401, "json": {"title": "Unauthorized", "detail": "This key has expired."}}
    page.route("**/*", lambda route: route.fulfill(**refusal))
    expect(page.locator(".sign-in .note")).to_contain_text("does not know")
    page.unroute_all()
    sign_in(page, KEYS["alice"])
    page.locator(RESULT).wait_for()


def test_signing_out_is_no_refused_key(keyed_server: Server, open_page: Open) -> None:
    page = open_page(keyed_server)
    sign_in(page, KEYS["alice"])
    page.get_by_label("Steps").wait_for()
    held = list[Any]()
    with page.expect_request("**/models"):
        page.route("**/models", lambda route: held.append(route))
    sign_out(page)
    with page.expect_response("**/models"):
        held[0].fulfill(status=401, json={"title": "Unauthorized"})
    page.evaluate("new Promise((resolve) => setTimeout(resolve))")
    expect(page.get_by_label("API key")).to_be_visible()
    assert page.locator(".sign-in .note").count() == 0
