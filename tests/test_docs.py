"""The documents name what exists: links, files, settings, routes, parameters, error codes; their examples run."""

import json
import os
import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import msgspec
import pytest
from msgspec import inspect

from litestar_diffusion import Settings, create_app
from litestar_diffusion.cli import cli
from litestar_diffusion.domain.access.api_key import ApiKey
from litestar_diffusion.domain.models.spec import ModelOverrides
from litestar_diffusion.domain.requests.parameters import GenerationParameters
from litestar_diffusion.settings import DialectsSettings
from litestar_diffusion.web.http.errors.problems import HTTP_STATUS
from litestar_diffusion.web.redirects import REDIRECTS

ROOT = Path(__file__).parents[1]
PAGES = {
    str(path.relative_to(ROOT)): path.read_text()
    for pattern in ("*.md", "docs/*.md", "training/*.md")
    for path in sorted(ROOT.glob(pattern))
}
NEVER_SENT = {"out_of_memory", "cancelled", "invalid_settings", "unknown_asset", "unusable_asset"}
"""Codes that no client receives in an answer."""
HIDDEN = ("/schema", "/schema-assets", "/page/", "/sdapi", "/internal", "/v1", *REDIRECTS)


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGES[page], re.MULTILINE | re.DOTALL)


def commands(page: str) -> Iterator[str]:
    """Yield the commands of the console blocks, continued lines joined."""
    for block in blocks(page, "console"):
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith("$ "):
                yield line.removeprefix("$ ")


def rows(page: str, heading: str) -> list[list[str]]:
    """Return the cells of the first table after a line that begins so."""
    lines = iter(PAGES[page].splitlines())
    next(line for line in lines if line.startswith(heading))
    table: list[list[str]] = []
    for line in lines:
        if line.startswith("|"):
            table.append([cell.strip() for cell in line.strip("|").split("|")])
        elif table:
            break
    return table


def quoted(text: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", text))


def anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_relative_links_resolve(page: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", PAGES[page]):
        if target.startswith("http"):
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / page).parent / path if path else ROOT / page
        assert file.exists(), f"{page} links to {target}"
        assert not anchor or anchor in anchors(file.read_text()), f"{page} links to {target}"


@pytest.mark.parametrize("page", PAGES)
def test_named_files_exist(page: str) -> None:
    for name in re.findall(r"\b(?:app|benchmarks|docs|examples|tests|training)/[\w/.-]*\w", PAGES[page]):
        assert (ROOT / name).exists(), f"{page} names {name}"


@pytest.mark.parametrize("page", sorted(PAGES.keys() - {"CHANGELOG.md"}))  # which names settings that were removed
def test_named_settings_exist(page: str) -> None:
    tables = {field.name: field.type for field in inspect.type_info(Settings).fields if field.name != "keys"}  # type: ignore[union-attr]
    for table, key in re.findall(rf"`({'|'.join(tables)})\.([a-z_]+)(?: = [^`]*)?`", PAGES[page]):
        known = {field.name for field in tables[table].fields}  # type: ignore[union-attr]
        assert key in known, f"{page} names the setting {table}.{key}"


def test_every_setting_has_its_line_in_the_settings_file() -> None:
    text = (ROOT / "settings.toml").read_text()
    for table in inspect.type_info(Settings).fields:  # type: ignore[union-attr]
        if table.name == "keys":
            continue
        section = re.search(rf"^\[{table.name}\]\n(.*?)(?=^\[[a-z]|\Z)", text, re.MULTILINE | re.DOTALL)
        assert section is not None, table.name
        for field in table.type.fields:  # type: ignore[union-attr]
            if (table.name, field.name) not in {("models", "hub"), ("models", "local"), ("models", "aliases")}:
                assert re.search(rf"^(# )?{field.name} = ", section[1], re.MULTILINE), f"{table.name}.{field.name}"


def test_every_setting_of_a_key_has_its_line_in_the_settings_file_and_they_are_valid() -> None:
    example = (ROOT / "settings.toml").read_text().partition("# [keys.ci]\n")[2].replace("…", "0" * 64)
    stated = tomllib.loads(re.sub(r"^# ", "", example, flags=re.MULTILINE))
    assert set(stated) == set(ApiKey.__struct_fields__)
    assert msgspec.convert(stated, ApiKey).scopes == ("generate",)


def test_the_routes_are_those_of_the_application() -> None:
    documented = {
        re.sub(r"\{\w+\}", "{}", route.split("?")[0])
        for row in rows("docs/api.md", "The OpenAPI document")
        for route in quoted(row[0])
    }
    native = DialectsSettings(
        openai=False, a1111=False, huggingface=False
    )  # docs/clients.md has the routes of the others
    routes = {
        f"{method} {re.sub(r'{[^}]+}', '{}', route.path)}"
        for route in create_app(Settings(dialects=native)).routes
        if not route.path.startswith(HIDDEN)
        for method in getattr(route, "methods", ()) - {"OPTIONS", "HEAD"}
    }
    assert documented == routes
    assert [path for path in REDIRECTS if f"`{path}`" not in PAGES["docs/api.md"]] == []


def test_the_routes_of_the_web_ui_are_those_of_its_dialect() -> None:
    documented = {route for row in rows("docs/a1111.md", "## Routes") for route in quoted(row[0])}
    routes = {
        f"{method} {route.path}"
        for route in create_app(Settings()).routes
        if route.path.startswith(("/sdapi", "/internal"))
        for method in getattr(route, "methods", ()) - {"OPTIONS", "HEAD"}
    }
    assert documented == routes


def test_the_parameters_are_those_of_a_request() -> None:
    tables = ("## Parameters", "### Pictures from pictures")
    documented = {name for table in tables for row in rows("docs/api.md", table) for name in quoted(row[0])}
    assert documented == set(GenerationParameters.__struct_fields__)


def test_the_error_codes_are_those_of_the_table() -> None:
    documented = {
        (row[0].split(",")[0], code) for row in rows("docs/api.md", "## Errors")[2:] for code in quoted(row[1])
    }
    sent = {(str(status), error.code) for error, status in HTTP_STATUS.items() if error.code not in NEVER_SENT}
    assert sent <= documented


@pytest.mark.parametrize("page", ["README.md", "docs/api.md", "docs/jobs.md"])
def test_the_bodies_of_curl_are_valid(page: str) -> None:
    bodies = [match for command in commands(page) for match in re.findall(r"-d '(\{.*?\})'", command)]
    assert bodies
    for body in bodies:
        msgspec.convert(json.loads(body), GenerationParameters)


@pytest.mark.parametrize("page", ["README.md", "docs/models.md"])
def test_the_commands_have_these_options(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    ours = [command for command in commands(page) if command.startswith("uv run litestar-diffusion ")]
    assert ours
    for command in ours:
        name, *arguments = shlex.split(command)[3:]
        cli.commands[name].make_context(name, arguments)


@pytest.mark.parametrize("page", ["README.md", "docs/embedding.md", "docs/security.md", "docs/jobs.md"])
def test_the_python_examples_run(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    examples = blocks(page, "python")
    assert examples
    for example in examples:
        module = ModuleType("example")
        monkeypatch.setitem(sys.modules, "example", module)  # Litestar looks up the annotations of handlers there
        exec(compile(example, page, "exec"), vars(module))


def test_the_sidecar_example_is_valid() -> None:
    (hub, preset, sidecar) = blocks("docs/models.md", "toml")
    stated = {**tomllib.loads(sidecar), **tomllib.loads(preset)}
    msgspec.convert(stated, ModelOverrides)
    assert set(stated) == set(ModelOverrides.__struct_fields__) - {"preview"}
    msgspec.convert(tomllib.loads(hub), type=dict[str, dict[str, list[dict[str, str]]]])


@pytest.mark.parametrize("page", ["docs/security.md", "docs/hostile-clients.md"])
def test_every_promise_names_tests_that_exist(page: str) -> None:
    promised = rows(page, "## What is promised")[2:]
    named = [quoted(row[1]) for row in promised]
    assert len(promised) > 8
    assert all(named)
    for file, _, name in (test.partition("::") for tests in named for test in tests):
        assert not name or f"def {name}(" in (ROOT / file).read_text(), f"{file}::{name}"


def test_the_command_of_the_tests_is_in_the_readme() -> None:
    assert "uv run pytest -n auto" in set(commands("README.md"))
    assert os.access(ROOT / ".ci" / "run", os.R_OK)
