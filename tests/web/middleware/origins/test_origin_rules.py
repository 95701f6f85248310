"""No foreign web page drives the server: over a real port, as browsers would send it."""

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from litestar_diffusion.web.middleware.origins.machine_names import machine_names
from litestar_diffusion.web.middleware.origins.origin_rules import OriginRules, host_allowed, origin_allowed
from tests.conftest import Server, running_server

EVIL = "https://evil.example"
FRIEND = "https://app.example.org"
BODY = {"prompt": "a red circle on a blue background", "num_inference_steps": 1}


def post(server: Server, path: str = "/generate/nope", **headers: str) -> Any:
    """By default to a model that does not exist: who passes the check gets 404."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return server.client.post(path, json=BODY, headers=sent)


def check(answer: Any, code: str, *named: str) -> None:
    assert answer.status_code == 403, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["status"], problem["code"]) == (403, code)
    assert problem["instance"] == answer.headers["x-request-id"]
    assert [part for part in named if part not in problem["detail"]] == []


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": EVIL},
        {"origin": EVIL, "sec_fetch_site": "cross-site"},
        {"origin": "http://localhost:1", "sec_fetch_site": "same-site"},
        {"origin": "null"},
        {"sec_fetch_site": "cross-site"},
    ],
)
@pytest.mark.parametrize("path", ["/generate/demo", "/models/demo/load", "/models/demo/unload"])
def test_a_page_of_another_origin_is_refused_and_the_setting_is_named(
    server: Server, path: str, headers: dict[str, str]
) -> None:
    answer = post(server, path, **headers)
    check(answer, "cross_origin", "allowed_origins", headers.get("origin", ""))
    assert "access-control-allow-origin" not in answer.headers


def test_own_pages_and_programs_pass(server: Server) -> None:
    assert post(server).status_code == 404
    assert post(server, origin=server.url).status_code == 404
    assert post(server, origin=server.url, sec_fetch_site="same-origin").status_code == 404


def test_a_page_behind_a_proxy_that_changes_the_host_passes(server: Server) -> None:
    assert post(server, origin="https://images.example", sec_fetch_site="same-origin").status_code == 404


def test_reading_is_left_to_the_browser_which_shows_no_answer_to_other_origins(server: Server) -> None:
    answer = server.client.get("/models", headers={"origin": EVIL})
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example"]
)
def test_a_name_that_leads_to_the_loopback_address_is_refused_for_reading_too(server: Server, host: str) -> None:
    check(
        server.client.get("/models", headers={"host": host}),
        "unknown_host",
        "allowed_hosts",
        host.split(":", maxsplit=1)[0],
    )
    check(post(server, host=host, origin=f"http://{host}", sec_fetch_site="same-origin"), "unknown_host")


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8000", "127.0.0.1:9", "[::1]:8000", "192.168.0.7", "a.localhost"]
)
def test_localhost_and_addresses_pass(server: Server, host: str) -> None:
    assert server.client.get("/health/live", headers={"host": host}).status_code == 200


@pytest.fixture(scope="module")
def friendly(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    environment = {
        "LITESTAR_DIFFUSION__SERVER__ALLOWED_ORIGINS": json.dumps([FRIEND]),
        "LITESTAR_DIFFUSION__SERVER__ALLOWED_HOSTS": json.dumps(["*.example.org"]),
    }
    with running_server(tmp_path_factory.mktemp("friendly"), environment, until="/health/live") as running:
        yield running


def test_origins_and_hosts_of_the_settings_pass_and_may_read_the_answer(friendly: Server) -> None:
    asked = {
        "origin": FRIEND,
        "access-control-request-method": "POST",
        "access-control-request-headers": "content-type",
    }
    preflight = friendly.client.options("/generate/demo", headers=asked)
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == FRIEND
    assert "content-type" in preflight.headers["access-control-allow-headers"].lower()
    answer = post(friendly, origin=FRIEND, sec_fetch_site="cross-site")
    assert answer.status_code == 404
    assert answer.headers["access-control-allow-origin"] == FRIEND
    assert "x-seed" in answer.headers["access-control-expose-headers"]
    assert post(friendly, host="images.example.org").status_code == 404


def test_caches_are_told_all_that_an_answer_depends_on(friendly: Server) -> None:
    """Litestar's CORS middleware replaces the header."""
    friendly.wait_until("/health/ready")
    assert post(friendly, "/generate/demo").headers["vary"] == "Accept"
    assert post(friendly, "/generate/demo", origin=FRIEND).headers["vary"] == "Accept, Origin"
    assert friendly.client.get("/models", headers={"origin": FRIEND}).headers["vary"] == "Origin"


def test_others_are_refused_all_the_same(friendly: Server) -> None:
    check(post(friendly, origin=EVIL), "cross_origin")
    check(post(friendly, host="images.example.com"), "unknown_host")
    asked = {"origin": EVIL, "access-control-request-method": "POST"}
    assert "access-control-allow-origin" not in friendly.client.options("/generate/demo", headers=asked).headers


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://a.example", "a.example"),
        ("http://a.example", "a.example:80"),
        ("https://a.example", "a.example"),
        ("https://a.example:443", "A.example"),
        ("http://[::1]:8000", "[::1]:8000"),
    ],
)
def test_an_origin_is_compared_with_the_host_whatever_took_tls_off(origin: str, host: str) -> None:
    assert origin_allowed(OriginRules(), host, origin, None)
    assert not origin_allowed(OriginRules(), "b.example", origin, None)


def test_a_star_allows_everything() -> None:
    rules = OriginRules(allowed_origins=["*"], allowed_hosts=["*"])
    assert origin_allowed(rules, "a", EVIL, "cross-site")
    assert host_allowed(rules, "evil.example")


def test_names_are_checked_on_every_address() -> None:
    assert not host_allowed(OriginRules(), "mybox")
    rules = OriginRules(allowed_hosts=["MyBox"])
    assert host_allowed(rules, "mybox:8000")
    assert not host_allowed(rules, "other")
    assert not host_allowed(OriginRules(allowed_hosts=["*.example.org"]), "evilexample.org")


def test_the_machines_own_name_is_known(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "Box.lan.example")
    assert machine_names()[:3] == ("box.lan.example", "box", "box.local")
    assert "host.docker.internal" in machine_names()
    monkeypatch.undo()
    for name in machine_names():
        assert server.client.get("/health/live", headers={"host": f"{name}:8000"}).status_code == 200
