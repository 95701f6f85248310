"""Without keys nothing answers other machines, whichever server runs the application; security headers are on all answers."""

import asyncio
from typing import Any

import pytest
from litestar.testing import TestClient

from litestar_diffusion.asgi import create_app
from litestar_diffusion.domain.access.api_key import ApiKey, hash_of
from litestar_diffusion.settings import ModelsSettings, ServerSettings, Settings
from litestar_diffusion.web.middleware.origins.loopback_only import is_beyond_loopback
from litestar_diffusion.web.middleware.security_headers import SECURITY_HEADERS

MODELS = ModelsSettings(directory=None, default=None, hub_enabled=False)
KEYS = {"ci": ApiKey(hash=hash_of("x"), scopes=("read",))}


def status(settings: Settings, address: Any, host: str = "192.168.0.7") -> tuple[int, bytes]:
    """Answer of the whole application to a request for /nothing at an address of this machine."""
    app = create_app(settings)
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope: Any = {
        "type": "http",
        "method": "GET",
        "path": "/nothing",
        "raw_path": b"/nothing",
        "query_string": b"",
        "headers": [(b"host", host.encode())],
        "server": address,
        "client": ("192.168.0.8", 1),
        "scheme": "http",
        "root_path": "",
        "http_version": "1.1",
    }
    asyncio.run(app(scope, receive, send))
    return sent[0]["status"], sent[1]["body"]


def test_a_server_without_keys_refuses_what_comes_to_other_addresses_than_loopback() -> None:
    plain = Settings(models=MODELS)
    code, body = status(plain, ("192.168.0.7", 8000))
    assert code == 403
    assert b"keys_needed" in body
    assert b"keys add NAME" in body
    assert b"server.insecure" in body
    for address in (("127.0.0.1", 8000), ("::1", 8000), ("::ffff:127.0.0.1", 8000), ("/run/socket", None), None):
        assert status(plain, address)[0] == 404, address
    assert status(Settings(models=MODELS, server=ServerSettings(insecure=True)), ("192.168.0.7", 8000))[0] == 404
    assert status(Settings(models=MODELS, keys=KEYS), ("192.168.0.7", 8000))[0] == 404


@pytest.mark.parametrize("keys", [{}, KEYS])
def test_a_rebound_name_is_refused_on_every_address_with_keys_and_insecure_too(keys: dict[str, ApiKey]) -> None:
    settings = Settings(models=MODELS, server=ServerSettings(insecure=True, allowed_hosts=("img.lan",)), keys=keys)
    for address in ("192.168.0.7", "127.0.0.1"):
        code, body = status(settings, (address, 8000), host="rebound.example")
        assert (code, b"unknown_host" in body, b"allowed_hosts" in body) == (403, True, True)
        assert status(settings, (address, 8000), host="img.lan:8000")[0] == 404


def test_addresses() -> None:
    beyond = ["0.0.0.0", "::", "10.0.0.1", "8.8.8.8", "fe80::1", "::ffff:10.0.0.1"]
    assert all(map(is_beyond_loopback, beyond))
    assert not any(map(is_beyond_loopback, ["127.0.0.1", "127.9.9.9", "::1", "testserver.local", ""]))


@pytest.mark.parametrize(
    "path", ["/schema", "/schema/redoc", "/schema-assets/swagger/swagger-ui.css", "/health/live", "/nothing", "/docs"]
)
def test_security_headers_are_on_all_answers_once(path: str) -> None:
    with TestClient(create_app(Settings(models=MODELS)), base_url="http://127.0.0.1") as client:
        headers = client.get(path, follow_redirects=False).headers
        for name, value in SECURITY_HEADERS:
            assert headers.get_list(name.decode()) == [value.decode()], name
