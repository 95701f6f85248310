"""The documents are true: links lead somewhere, routes and settings exist, examples run."""

import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from litestar_diffusion.asgi import create_app
from litestar_diffusion.settings import Settings
from tests.conftest import ROOT

DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
FORBIDDEN = re.compile(r"\b(whoever|whatever|nobody|everybody|somebody|meanwhile)\b", re.IGNORECASE)
CODE = re.compile(r"```python\n(.*?)```", re.DOTALL)


def routes() -> set[tuple[str, str]]:
    app = create_app(Settings())
    return {
        (method, re.sub(r"\{(\w+):\w+\}", r"{\1}", route.path))
        for route in app.routes
        for method in getattr(route, "methods", ())
    }


def exists(dotted: str) -> bool:
    """Whether a setting has this name, such as `limits.max_waiting`."""
    value = msgspec.to_builtins(Settings())
    for part in dotted.split("."):
        if not isinstance(value, dict) or part not in value:
            return False
        value = value[part]
    return True


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files(document: Path) -> None:
    links = re.findall(r"\]\((?!https?://|<)([^)#]+)", document.read_text(encoding="utf-8"))
    assert [link for link in links if not (document.parent / link).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_settings_that_are_named_exist(document: Path) -> None:
    tables = "|".join(Settings.__struct_fields__)
    named = re.findall(rf"`((?:{tables})\.[a-z_]+)`", document.read_text(encoding="utf-8"))
    removed = {"models.read"} if document.name == "CHANGELOG.md" else set[str]()
    assert [name for name in named if not exists(name) and name not in removed] == []


def test_routes_of_the_api_page_exist() -> None:
    named = re.findall(r"`(GET|POST|DELETE) (/[\w/{}]*)", (ROOT / "docs" / "api.md").read_text(encoding="utf-8"))
    assert len(named) > 15
    assert [route for route in named if route not in routes()] == []


@pytest.mark.parametrize("document", ["README.md", "docs/embedding.md"])
def test_examples_in_python_run(document: str, tmp_path: Path) -> None:
    blocks = CODE.findall((ROOT / document).read_text(encoding="utf-8"))
    assert blocks
    for index, block in enumerate(blocks):
        file = tmp_path / f"example_{index}.py"
        file.write_text(block, encoding="utf-8")
        done = subprocess.run([sys.executable, "-W", "error", file], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("document", [*DOCUMENTS, ROOT / "settings.toml"], ids=lambda path: path.name)
def test_words_name_their_subjects(document: Path) -> None:
    assert FORBIDDEN.findall(document.read_text(encoding="utf-8")) == []
