"""Clients that public generators make from the OpenAPI document: every operation works against a live server."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Server

pytestmark = pytest.mark.slow

DIALECTS = {"a1111", "openai"}
CALLS = Path(__file__).parent / "clients"
PYTHON_GENERATOR = "openapi-python-client==0.29.1"
TYPESCRIPT_PACKAGES = ("openapi-typescript@7.13.0", "openapi-fetch@0.17.0", "typescript@5.9.3")


def run(folder: Path, *command: object) -> str:
    done = subprocess.run(list(map(str, command)), cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{command[0]}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout + done.stderr


@pytest.fixture
def document(server: Server, tmp_path: Path) -> Path:
    server.wait_until("/health/ready")
    schema = server.client.get("/schema/openapi.json").json()
    schema["paths"] = {path: item for path, item in schema["paths"].items() if not _is_of_a_dialect(item)}
    (tmp_path / "openapi.json").write_text(json.dumps(schema))
    return tmp_path / "openapi.json"


@pytest.mark.skipif(shutil.which("uvx") is None, reason="uv is not installed")
def test_openapi_python_client(server: Server, document: Path) -> None:
    folder, tools = document.parent, ("uvx", "--quiet", "--from", PYTHON_GENERATOR)
    # The generator takes no image for an answer unless it is told how to read one.
    config = folder / "config.json"
    config.write_text(json.dumps({"content_type_overrides": {"image/webp": "application/octet-stream"}}))
    options = ("--meta", "none", "--output-path", "generated", "--fail-on-warning", "--config", config)
    run(folder, *tools, "openapi-python-client", "generate", "--path", document, *options)
    shutil.copy(CALLS / "every_operation.py", folder)
    run(folder, *tools, "python", "every_operation.py", server.url)


@pytest.mark.skipif(shutil.which("npm") is None, reason="Node is not installed")
def test_openapi_typescript(server: Server, document: Path) -> None:
    folder = document.parent
    (folder / "package.json").write_text('{"type": "module"}')
    shutil.copy(CALLS / "every_operation.ts", folder)
    run(folder, "npm", "install", "--silent", "--no-audit", "--no-fund", *TYPESCRIPT_PACKAGES)
    run(folder, "npx", "openapi-typescript", document, "--output", "generated.d.ts")
    options = ("--strict", "--module", "nodenext", "--target", "es2022", "--lib", "es2022,dom")
    run(folder, "npx", "tsc", *options, "every_operation.ts")
    run(folder, "node", "every_operation.js", server.url, *operations(document))


def _is_of_a_dialect(item: dict[str, Any]) -> bool:
    """Those APIs have clients already; tests/clients lets them loose."""
    return any(DIALECTS & set(operation["tags"]) for operation in item.values())


def operations(document: Path) -> list[str]:
    paths = json.loads(document.read_text())["paths"]
    return [f"{method.upper()} {path}" for path, item in paths.items() for method in item]
