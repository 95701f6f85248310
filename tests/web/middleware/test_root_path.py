"""Behind a reverse proxy that offers the server under a prefix, every page shows and every address that an answer holds works."""

import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urljoin

import httpx
import pytest
import uvicorn

from litestar_diffusion.asgi import create_app
from litestar_diffusion.domain.errors import InvalidSettings
from litestar_diffusion.settings import ModelsSettings, ServerSettings, Settings, load_settings
from litestar_diffusion.testing import faked
from tests.conftest import free_port

BODY = {"prompt": "x", "seed": 1, "width": 64, "height": 64, "num_inference_steps": 1}
NGINX = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{}}
http {{
  access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  proxy_set_header Host $http_host; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
  server {{ listen 127.0.0.1:{removes}; location /img/ {{ proxy_pass http://127.0.0.1:{port}/; }} }}
  server {{ listen 127.0.0.1:{keeps}; location /img/ {{ proxy_pass http://127.0.0.1:{port}; }} }}
}}
"""


def wait_for(port: int) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.01)
    raise AssertionError(f"nothing listens on port {port}")


@contextmanager
def serving(root_path: str, uvicorns: str = "") -> Iterator[int]:
    """Serve the standalone application with fakes; yields its port."""
    models = ModelsSettings(directory=None, hub_enabled=False)
    app = create_app(Settings(models=models, server=ServerSettings(root_path=root_path)))
    port = free_port()
    with faked(app):
        server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None, root_path=uvicorns))
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            wait_for(port)
            yield port
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="module", params=["settings", "uvicorn"])
def direct(request: pytest.FixtureRequest) -> Iterator[int]:
    with serving("/img/", "") if request.param == "settings" else serving("", "/img") as port:
        yield port


@pytest.fixture(scope="module")
def proxies(direct: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    """Ports of nginx, once as it removes the prefix and once as it keeps it."""
    if shutil.which("nginx") is None:
        pytest.skip("nginx is not installed: apt-get install nginx-light")
    folder, ports = tmp_path_factory.mktemp("nginx"), {"removes": free_port(), "keeps": free_port()}
    config = folder / "nginx.conf"
    config.write_text(NGINX.format(folder=folder, port=direct, **ports))
    process = subprocess.Popen(["nginx", "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(config)])
    try:
        wait_for(ports["keeps"])
        yield ports
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(params=["removes", "keeps"])
def base(request: pytest.FixtureRequest, proxies: dict[str, int]) -> str:
    return f"http://127.0.0.1:{proxies[request.param]}/img/"


@pytest.fixture
def client(base: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=base, timeout=30) as client:
        yield client


@pytest.mark.parametrize("page", ["schema", "schema/", "schema/swagger", "schema/redoc", "schema/redoc/"])
def test_the_scripts_and_styles_of_every_page_of_the_documentation_load(client: httpx.Client, page: str) -> None:
    answer = client.get(page)
    assert answer.status_code == 200
    assets = re.findall(r'(?:src|href)="([^"#]+)"', answer.text.partition("<body")[0])
    assert len(assets) >= 2
    for asset in assets:
        assert client.get(urljoin(str(answer.url), asset)).status_code == 200, asset
    assert '"servers":[{"url":"/img"}]' in answer.text.replace(" ", "")


def test_the_document_names_the_address_that_the_client_used(client: httpx.Client, base: str) -> None:
    document = client.get("schema/openapi.json").json()
    assert document["servers"] == [{"url": "/img"}]
    assert f"curl -X POST {base}generate/" in document["info"]["description"]
    assert "url: /img\n" in client.get("schema/openapi.yaml").text


def test_a_job_is_followed_by_the_addresses_of_its_answers(client: httpx.Client, base: str) -> None:
    sent = client.post("jobs/demo", json=BODY)
    assert sent.status_code == 202
    assert sent.headers["location"] == sent.json()["url"] == f"/img/jobs/{sent.json()['id']}"
    job = urljoin(base, sent.headers["location"])
    events = client.get(f"{job}/events").text
    assert f'"url":"{sent.headers["location"]}"' in events
    assert client.get(job).json()["state"] == "done"
    assert [each["url"] for each in client.get("jobs").json() if each["url"] in job]


def test_an_image_of_openais_dialect_is_at_its_address(client: httpx.Client) -> None:
    body = {"model": "demo", "prompt": "x", "size": "64x64", "response_format": "url"}
    url = client.post("v1/images/generations", json=body).json()["data"][0]["url"]
    assert client.get(url).headers["content-type"] == "image/png"


@pytest.mark.parametrize(("path", "target"), [("docs", "/img/schema"), ("healthz", "/img/health/live")])
def test_redirects_stay_under_the_prefix(client: httpx.Client, path: str, target: str) -> None:
    assert client.get(path).headers["location"] == target


def test_facts_and_problems_name_the_documentation_under_the_prefix(client: httpx.Client) -> None:
    assert client.get("").json()["documentation"] == "/img/schema"
    lost = client.get("nothing").json()
    assert "at /img/nothing. /img/schema lists" in lost["detail"]


def test_probes_reach_the_server_itself_with_and_without_the_prefix(direct: int) -> None:
    for path in ("/health/live", "/img/health/live"):
        assert httpx.get(f"http://127.0.0.1:{direct}{path}").status_code == 200, path
    assert httpx.get(f"http://127.0.0.1:{direct}/imgs/health/live").status_code == 404


def test_pages_show_under_a_prefix_that_the_server_does_not_know_of() -> None:
    with serving("") as port:
        page = httpx.get(f"http://127.0.0.1:{port}/schema").text
    assert 'src="schema-assets/swagger/swagger-ui-bundle.js"' in page
    assert '"/schema-assets' not in page


@pytest.mark.parametrize("wrong", ["img", "/img?x", "http://host/img", "//img", "/a b"])
def test_what_is_no_path_is_refused(wrong: str) -> None:
    with pytest.raises(InvalidSettings, match="root_path"):
        load_settings(environment={"LITESTAR_DIFFUSION__SERVER__ROOT_PATH": wrong})
