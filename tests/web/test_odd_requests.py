"""Odd values in every place that a client or a proxy can fill end in an answer that says what to do, never in a 500."""

import random
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from litestar_diffusion import DiffusionConfig, DiffusionPlugin
from litestar_diffusion.testing import FakeEngine, fake_services, model
from litestar_diffusion.web.http.errors.exception_handlers import exception_handlers
from tests.conftest import Server

ROUTES = [
    ("GET", "/"),
    ("GET", "/health/ready"),
    ("GET", "/jobs"),
    ("GET", "/jobs/{}"),
    ("DELETE", "/jobs/{}"),
    ("GET", "/jobs/{}/events"),
    ("GET", "/metrics"),
    ("GET", "/models"),
    ("GET", "/models/{}"),
    ("GET", "/pool"),
    ("POST", "/generate/{}"),
    ("POST", "/jobs/{}"),
    ("POST", "/models/{}/load"),
    ("POST", "/models/{}/pin"),
    ("POST", "/models/{}/unload"),
    ("PUT", "/{}"),
]
ODD = [
    "",
    "0",
    "-1",
    str(2**64),
    "1e999",
    "NaN",
    "null",
    "true",
    "é",
    "日本",
    "\0",
    "%",
    "%ff",
    "../..",
    "a,b;c",
    '"',
    "\\",
]
ODD += ["x" * 5000, "[" * 500, "{}", "\x1b[31m", "image/png;q=nan", "*/*", "gzip", "respond-async;;,", " ", "\u202e"]
HEADERS = ("accept", "content-encoding", "content-type", "idempotency-key", "last-event-id", "prefer", "authorization")
HEADERS += ("x-request-id", "x-api-key", "origin", "sec-fetch-site")
QUERIES = ("state", "dry_run", "tier", "wait", "unknown", "")
FIELDS = ("prompt", "seed", "n", "width", "sampler", "priority", "crop", "output_format", "", "\0")
MAX_ERROR_NBYTES = 64_000


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    plugin = DiffusionPlugin(
        DiffusionConfig(build=lambda settings: fake_services(model("demo"), settings=settings, engine=FakeEngine()))
    )
    application = Litestar(plugins=[plugin], exception_handlers=exception_handlers())
    with TestClient(application, raise_server_exceptions=False) as running:
        yield running


def check(answer: Any, what: object) -> None:
    assert answer.status_code < 500, (what, answer.text)
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/problem+json", what
        assert len(answer.content) < MAX_ERROR_NBYTES
        problem = answer.json()
        assert len(problem["detail"]) > 10, what
        assert problem["code"], what


def body(chance: random.Random) -> bytes:
    values = [f'"{chance.choice(ODD)}"', chance.choice(ODD), "[1,2]", "{}", "1", '"x"']
    fields = ", ".join(f'"{chance.choice(FIELDS)}": {chance.choice(values)}' for _ in range(chance.randrange(4)))
    return chance.choice([f'{{"prompt": "x", {fields}}}', f"{{{fields}}}", chance.choice(ODD)]).encode()


@pytest.mark.parametrize("seed", range(4))
def test_no_mixture_of_odd_values_is_a_defect_of_ours(client: Any, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(150):
        method, template = chance.choice(ROUTES)
        path = template.format(quote(chance.choice(["demo", *ODD]), safe=chance.choice(["", "%/"])))
        names = chance.sample(HEADERS, chance.randrange(4))
        headers = {name.encode(): chance.choice(ODD).encode().replace(b"\0", b"") for name in names}
        if chance.random() < 0.5:
            path += f"?{chance.choice(QUERIES)}={quote(chance.choice(ODD))}"
        content = body(chance) if method == "POST" else None
        what = (method, path, headers, content)
        check(client.request(method, path, headers=headers, content=content), what)


LONG = "x" * 60_000


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", f"/{LONG}", {}),
        ("GET", f"/models/{LONG}", {}),
        ("GET", f"/jobs/{LONG}", {}),
        ("GET", f"/jobs?state={LONG}", {}),
        ("POST", f"/models/demo/load?tier={LONG}", {}),
        ("POST", f"/generate/demo?dry_run={LONG}", {}),
        ("POST", "/generate/demo", {"idempotency-key": LONG}),
        ("POST", "/generate/demo", {"accept": LONG}),
        ("POST", "/generate/demo", {"content-type": LONG}),
        ("POST", "/generate/demo", {"content-encoding": LONG}),
        ("GET", "/jobs/x/events", {"last-event-id": "9" * 60_000}),
        ("POST", "/generate/demo", {"origin": f"http://{LONG}"}),
        ("GET", "/", {"host": LONG}),
        ("GET", "/schema-assets/swagger/%00", {}),
        ("GET", f"/schema-assets/swagger/{'x' * 5000}", {}),
        ("GET", "/models/%00", {}),
        ("GET", "/models/%ff%fe", {}),
        ("GET", "/models/%1b]0;owned%07", {}),
        ("GET", "/%00", {}),
    ],
)
def test_long_and_odd_addresses_and_headers_get_short_answers_over_a_real_port(
    server: Server, method: str, path: str, headers: dict[str, str]
) -> None:
    content = b'{"prompt": "x"}' if method == "POST" else None
    answer = server.client.request(method, path, headers=headers, content=content)
    assert 400 <= answer.status_code < 500
    check(answer, path[:80])
    assert len(answer.content) < 2000, "names are cut to 60 characters, and values too"


@pytest.mark.parametrize("character", ["\\u0001", "é", "😀", "\\\\"])
def test_the_answer_to_the_worst_body_is_below_64_kb(client: Any, character: str) -> None:
    """Twenty keys of characters that JSON writes in six bytes, in the message and in the list of errors."""
    keys = ", ".join(f'"{character * 100}{index}": "{character * 100}"' for index in range(300))
    values = ", ".join(f'"{name}": "{character * 500}"' for name in ("seed", "n", "crop", "priority", "width"))
    answer = client.post("/jobs/demo", content=f"{{{values}, {keys}}}".encode())
    assert answer.status_code == 400
    check(answer, character)
    errors = answer.json()["errors"]
    assert len(errors) == 21
    assert errors[-1]["message"].startswith("and ")
    assert max(len(error["field"]) for error in errors) <= 61


def test_thousands_of_models_make_no_long_answer() -> None:
    models = [model(f"{'m' * 100}{index}") for index in range(3000)]
    plugin = DiffusionPlugin(DiffusionConfig(build=lambda settings: fake_services(*models, settings=settings)))
    with TestClient(Litestar(plugins=[plugin])) as client:
        answer = client.post("/generate/M", json={"prompt": "x"})
    assert answer.status_code == 404
    check(answer, "many models")


def test_parameters_are_named_as_the_client_sent_them(client: Any) -> None:
    def wrong(answer: Any) -> dict[str, str]:
        (error,) = answer.json()["errors"]
        return error

    states = "'queued', 'loading', 'running', 'done', 'failed', 'cancelled'"
    assert wrong(client.get("/jobs?state=nope")) == {
        "field": "state",
        "message": f"must be one of {states}, got 'nope'",
    }
    key = wrong(client.post("/jobs/demo", json={"prompt": "x"}, headers={"idempotency-key": ""}))
    assert key == {"field": "Idempotency-Key", "message": "expected str of length >= 1, got ''"}
    event = wrong(client.get("/jobs/x/events", headers={"last-event-id": "-1"}))
    assert event == {"field": "Last-Event-ID", "message": "expected int >= 0, got '-1'"}
    assert wrong(client.post("/generate/demo?dry_run=maybe", json={"prompt": "x"}))["field"] == "dry_run"
    assert wrong(client.post("/generate/demo"))["field"] == "body"
