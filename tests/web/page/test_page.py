"""Who gets the page, what it may load, and under which paths it works."""

import base64
import hashlib
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from litestar import Litestar
from litestar.connection import ASGIConnection
from litestar.exceptions import NotAuthorizedException
from litestar.handlers import BaseRouteHandler
from litestar.testing import TestClient

from litestar_diffusion import DiffusionConfig, DiffusionPlugin
from litestar_diffusion.settings import Settings
from litestar_diffusion.testing import fake_services, model
from litestar_diffusion.web.http.page_requests import prefers_html
from litestar_diffusion.web.page.files import PageFiles
from tests.web.auth.keyed import keyed

CHROME = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
HTML = {"accept": CHROME}
STATIC = Path(__file__).parents[3] / "app" / "web" / "page" / "static"
MAX_NBYTES = 150_000


@contextmanager
def client(**config: Any) -> Iterator[TestClient[Litestar]]:
    plugin = DiffusionPlugin(
        DiffusionConfig(
            settings=Settings(), build=lambda settings: fake_services(model("a"), settings=settings), **config
        )
    )
    with TestClient(Litestar([], plugins=[plugin])) as client:
        yield client


@pytest.mark.parametrize(
    ("accept", "page"),
    [
        (CHROME, True),
        ("text/html", True),
        ("*/*", False),
        ("", False),
        ("application/json", False),
        ("application/json, text/html", False),
        ("text/html;q=0.5, application/json", False),
        ("text/html;q=0", False),
    ],
)
def test_browsers_get_the_page_and_programs_json(accept: str, page: bool) -> None:
    assert prefers_html(accept) == page
    with client() as http:
        answer = http.get("/", headers={"accept": accept})
        assert answer.headers["content-type"] == ("text/html; charset=utf-8" if page else "application/json")
        assert answer.headers["vary"] == "Accept"
        assert http.head("/", headers={"accept": accept}).headers["content-type"] == answer.headers["content-type"]


@pytest.mark.parametrize("path", ["/", "/images", "/tenants/one/images", "/tenants/a%3Fb%20c/images"])
def test_all_that_the_page_names_is_there_under_any_path(path: str) -> None:
    mounted = "/tenants/{tenant:str}/images" if path.startswith("/tenants") else path
    with client(path=mounted) as http:
        text = http.get(path, headers=HTML).text
        base = re.search(r'<base href="([^"]+)">', text)
        assert base is not None
        assert base.group(1) == f"{path.rstrip('/')}/"
        named = set(re.findall(r'(?:href|src)="(page/[^"]+)"|"\./(page/[^"]+)"', text))
        files = {first or second for first, second in named}
        assert len(files) > 40
        for name in files:
            answer = http.get(base.group(1) + name)
            assert answer.status_code == 200, name
            assert "immutable" in answer.headers["cache-control"]
            assert answer.headers["content-type"].count("charset") <= 1
            assert answer.content == (STATIC / name.split("/", 2)[2]).read_bytes()


def test_every_module_that_is_imported_exists_and_none_comes_from_elsewhere() -> None:
    mapped = set(re.findall(r'"([^"]+)": "\./page', (STATIC / "index.html").read_text()))
    for file in STATIC.rglob("*.js"):
        for name in re.findall(r'^(?:import|export) [^;]*?from "([^"]+)";', file.read_text(), re.MULTILINE):
            assert name in mapped or (file.parent / name).resolve().is_file(), f"{file.name} imports {name}"


def test_the_policy_allows_the_pages_own_files_and_its_import_map_alone() -> None:
    with client() as http:
        answer = http.get("/", headers=HTML)
        policy = answer.headers["content-security-policy"]
        assert "unsafe" not in policy
        assert "http" not in policy
        inline = re.findall(r"<script type=\"importmap\">(.*?)</script>", answer.text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inline[0].encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
        assert len(re.findall(r"<script(?![^>]*(src|importmap))", answer.text)) == 0
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=", answer.text)


def test_the_whole_page_is_small_and_comes_compressed() -> None:
    files = PageFiles()
    packed = sum(len(file.packed) for file in files.files.values())
    assert packed < MAX_NBYTES / 2
    with client() as http:
        name = f"/page/{files.version}/main.js"
        plain, small = (http.get(name, headers={"accept-encoding": coding}) for coding in ("identity", "gzip"))
        assert plain.content == small.content, "the client unpacks it"
        assert (small.headers["content-encoding"], small.headers["vary"]) == ("gzip", "Accept-Encoding")
        assert http.get("/page/other/main.js").headers["cache-control"] == "no-cache"
        for missing in ("/page/x/nothing.js", "/page/x/../files.py", "/page/x/%2e%2e/files.py"):
            assert http.get(missing).status_code == 404


def test_without_the_page_browsers_get_json() -> None:
    with client(page=False) as http:
        assert http.get("/", headers=HTML).headers["content-type"] == "application/json"
        assert http.get(f"/page/{PageFiles().version}/main.js").status_code == 404


def test_the_guards_of_the_host_protect_the_page_unless_it_is_spared() -> None:
    def guard(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
        raise NotAuthorizedException

    file = f"/page/{PageFiles().version}/main.js"
    with client(guards=[guard]) as http:
        assert [http.get(path, headers=HTML).status_code for path in ("/", file)] == [401, 401]
    with client(guards=[guard], unguarded={"page"}) as http:
        assert [http.get(path, headers=HTML).status_code for path in ("/", file)] == [200, 200]
        assert http.get("/").status_code == 401, "the facts are no page"


def test_with_keys_the_page_is_there_and_asks_for_one() -> None:
    with keyed() as http:
        answer = http.get("/", headers=HTML)
        assert answer.status_code == 200
        assert '<meta name="litestar-diffusion-keys" content="yes">' in answer.text
        assert http.get("/").status_code == 401


TYPES = (
    "openapi-typescript@7.13.0",
    "typescript@5.9.3",
    "preact@11.2.0",
    "@preact/signals@2.11.4",
    "htm@3.1.1",
    "eventsource-parser@3.1.1",
)
VENDORED = {
    "preact.js": "preact/dist/preact.mjs",
    "preact-hooks.js": "preact/hooks/dist/hooks.mjs",
    "preact-signals.js": "@preact/signals/dist/signals.mjs",
    "preact-signals-core.js": "@preact/signals-core/dist/signals-core.mjs",
    "htm.js": "htm/dist/htm.mjs",
    "eventsource-parser.js": "eventsource-parser/dist/index.js",
}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("npm") is None, reason="Node is not installed")
def test_the_types_of_the_page_hold_against_the_openapi_document_and_its_libraries(tmp_path: Path) -> None:
    def run(*command: str) -> None:
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-3000:]

    shutil.copytree(STATIC, tmp_path / "page", ignore=shutil.ignore_patterns("vendor"))
    with client() as http:
        (tmp_path / "openapi.json").write_bytes(http.get("/schema/openapi.json").content)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    run("npm", "install", "--silent", "--no-audit", "--no-fund", *TYPES)
    run("npx", "openapi-typescript", "openapi.json", "--output", "page/schema.d.ts")
    shutil.copy(Path(__file__).parent / "tsconfig.json", tmp_path)
    run("npx", "tsc", "-p", "tsconfig.json")
    for ours, theirs in VENDORED.items():
        assert (STATIC / "vendor" / ours).read_bytes() == (tmp_path / "node_modules" / theirs).read_bytes(), ours
