"""Keys on a real server, with the clients that people use; made-up keys and forwarded headers win nothing."""

import json
import subprocess
from collections.abc import Iterator

import pytest
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError

from litestar_diffusion.domain.access.api_key import hash_of, new_key
from tests.conftest import Server, StartServer, running_server

KEY, OTHER = new_key(), new_key()
KEYS = {"ci": {"hash": hash_of(KEY), "scopes": ["generate"]}, "other": {"hash": hash_of(OTHER), "scopes": ["generate"]}}
SMALL = {"prompt": "a red circle on a blue background", "num_inference_steps": 1, "width": 64, "height": 64}


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    environment = {"LITESTAR_DIFFUSION__KEYS": json.dumps(KEYS), "LITESTAR_DIFFUSION__SERVER__HOST": "0.0.0.0"}
    with running_server(tmp_path_factory.mktemp("keyed"), environment) as running:
        yield running


def curl(server: Server, path: str, *options: str) -> tuple[int, bytes]:
    command = ["curl", "-s", "-w", "%{http_code}", *options, f"{server.url}{path}"]
    answer = subprocess.run(command, capture_output=True, check=True, timeout=60).stdout
    return int(answer[-3:]), answer[:-3]


@pytest.mark.parametrize(
    "options",
    [["-H", f"Authorization: Bearer {KEY}"], ["-H", f"X-API-Key: {KEY}"], ["-u", f"me:{KEY}"], ["-u", f"{KEY}:"]],
)
def test_curl_makes_a_picture_with_each_form_of_the_key(keyed: Server, options: list[str]) -> None:
    body = ["-H", "accept: image/png", "-d", json.dumps(SMALL)]
    status, picture = curl(keyed, "/generate/demo", *options, *body)
    assert (status, picture[:4]) == (200, b"\x89PNG")
    assert curl(keyed, "/generate/demo", *body)[0] == 401


def test_two_headers_with_different_keys_are_refused(keyed: Server) -> None:
    both = ["-H", f"Authorization: Bearer {KEY}", "-H", f"Authorization: Bearer {OTHER}"]
    assert curl(keyed, "/models", *both)[0] == 400


def test_events_are_followed_with_a_key(keyed: Server) -> None:
    headers = {"authorization": f"Bearer {KEY}"}
    url = keyed.client.post("/jobs/demo", json=SMALL, headers=headers).headers["location"]
    assert keyed.client.get(f"{url}/events").status_code == 401
    assert keyed.client.get(f"{url}/events", headers={"x-api-key": OTHER}).status_code == 404
    assert "event: done" in keyed.client.get(f"{url}/events", headers=headers).text


def test_huggingface_hub_sends_its_token(keyed: Server) -> None:
    address = f"{keyed.url}/generate/demo"
    picture = InferenceClient(model=address, token=KEY).text_to_image(
        "a red circle", num_inference_steps=1, width=64, height=64
    )
    assert picture.size == (64, 64)
    with pytest.raises(HfHubHTTPError, match="401") as refused:
        InferenceClient(model=address, token="hf_made_up").text_to_image("a red circle")
    assert "keys add NAME" in str(refused.value)


def test_the_log_names_the_key_and_never_holds_it(keyed: Server) -> None:
    keyed.client.get("/models", headers={"x-api-key": KEY}).raise_for_status()
    log = keyed.log_with('"key":"ci"')
    assert KEY not in log
    assert any('"key": "ci"' in line or '"key":"ci"' in line for line in log.splitlines())


def current(server: Server, **headers: str) -> str:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return server.client.get("/sdapi/v1/options", headers=sent).json()["samples_format"]


MADE_UP = [
    {"authorization": "Bearer made-up"},
    {"x_api_key": "made-up"},
    {"x_forwarded_for": "203.0.113.9"},
    {"forwarded": "for=203.0.113.9"},
    {"x_real_ip": "203.0.113.9"},
]


def test_made_up_keys_and_forwarded_headers_are_no_other_client(server: Server) -> None:
    server.client.post("/sdapi/v1/options", json={"samples_format": "webp"}).raise_for_status()
    try:
        assert [current(server, **headers) for headers in MADE_UP] == ["webp"] * len(MADE_UP)
    finally:
        server.client.post("/sdapi/v1/options", json={"samples_format": "png"})


def test_a_configured_proxy_is_believed(start_server: StartServer) -> None:
    server = start_server(
        LITESTAR_DIFFUSION__SERVER__TRUSTED_PROXIES='["127.0.0.0/8"]', LITESTAR_DIFFUSION__MODELS__DEFAULT=""
    )
    server.wait_until("/health/live")
    sent = {"x-forwarded-for": "203.0.113.9"}
    server.client.post("/sdapi/v1/options", json={"samples_format": "webp"}, headers=sent).raise_for_status()
    assert current(server, x_forwarded_for="203.0.113.9") == "webp"
    assert current(server) == current(server, x_forwarded_for="203.0.113.10") == "png"
    # The entry nearest to the proxy counts: what a client has put before it is not believed.
    assert current(server, x_forwarded_for="203.0.113.10, 203.0.113.9") == "webp"


def test_the_openai_sdk_sends_its_key(keyed: Server) -> None:
    openai = pytest.importorskip("openai", reason="uv run --group clients pytest tests/web/auth")
    with openai.OpenAI(base_url=f"{keyed.url}/v1", api_key=KEY) as client:
        answer = client.images.generate(model="demo", prompt="x", size="64x64", extra_body={"num_inference_steps": 1})
        assert answer.data[0].b64_json
    with openai.OpenAI(base_url=f"{keyed.url}/v1", api_key="sk-made-up") as client:
        with pytest.raises(openai.AuthenticationError, match="not one of this server") as refused:
            client.models.list()
        assert refused.value.code == "invalid_api_key"


def test_webuiapi_sends_the_key_as_a_password(keyed: Server) -> None:
    webuiapi = pytest.importorskip("webuiapi", reason="uv run --group clients pytest tests/web/auth")
    host, port = keyed.url.removeprefix("http://").split(":")
    api = webuiapi.WebUIApi(host=host, port=int(port))
    api.set_auth("me", KEY)
    made = api.txt2img(prompt="x", steps=1, width=64, height=64, cfg_scale=1, alwayson_scripts={})
    assert made.image.size == (64, 64)
    api.session.close()
