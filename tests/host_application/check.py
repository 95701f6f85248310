"""Compares the host with and without the plugin; run where only the wheel is installed. Prints `the same` at the end."""

import logging
from pathlib import Path
from typing import Any

from app.main import LIVED, create, create_app
from litestar import Litestar
from litestar.testing import TestClient

import app
import litestar_diffusion

KEY = {"x-key": "1"}
REQUESTS: list[tuple[str, str, dict[str, str]]] = [
    ("GET", "/items/3", KEY),
    ("GET", "/items/3", {}),
    ("GET", "/items/x", KEY),
    ("POST", "/items/3", KEY),
    ("GET", "/defect", {}),
    ("GET", "/nowhere", {}),
    ("GET", "/items/3", {**KEY, "origin": "https://friend.example"}),
    ("GET", "/items/3", {**KEY, "origin": "https://foe.example"}),
    ("OPTIONS", "/items/3", {"origin": "https://friend.example", "access-control-request-method": "GET"}),
]


def answers(host: Litestar) -> list[Any]:
    with TestClient(host, raise_server_exceptions=False) as client:
        made = [client.request(method, path, headers=headers) for method, path, headers in REQUESTS]
        document = client.get("/documents/openapi.json").json()
    shown = document["paths"]["/items/{number}"], document["info"], document["openapi"]
    return [(answer.status_code, answer.text, dict(answer.headers)) for answer in made] + [shown]


def logging_state() -> Any:
    root = logging.getLogger()
    return root.level, list(root.handlers), logging.getLogger("litestar_diffusion").handlers


assert "site-packages" in str(Path(litestar_diffusion.__file__)), litestar_diffusion.__file__
assert Path(app.__file__ or "").parent == Path(__file__).parent / "app", app.__file__
before = logging_state()
alone, lived_alone = answers(create([])), LIVED[:]
LIVED.clear()
assert answers(create_app()) == alone
assert lived_alone == LIVED == ["started", "ended"]
assert logging_state() == before
with TestClient(create_app(), raise_server_exceptions=False) as client:
    assert client.get("/card/demo").json()["bytes"] > 0
    assert (client.get("/card/nope").status_code, client.get("/card/nope").json()["code"]) == (404, "unknown_model")
    assert client.get("/images/models/demo", headers=KEY).json()["name"] == "demo"
    assert client.get("/images/models/demo").status_code == 401
    assert client.get("/images/health/live").status_code == 200
print("the same")  # noqa: T201
