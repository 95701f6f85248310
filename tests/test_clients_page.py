"""docs/clients.md lists every route of every dialect, and none that does not exist."""

import re
from collections.abc import Iterator
from dataclasses import replace

import msgspec
import pytest
from litestar import Litestar

from litestar_diffusion import ROUTE_GROUPS, DiffusionConfig, DiffusionPlugin
from litestar_diffusion.domain.models.aliases import USUAL_ALIASES
from litestar_diffusion.settings import DialectsSettings
from litestar_diffusion.web.dialect import Dialect
from litestar_diffusion.web.dialects import DIALECTS
from litestar_diffusion.web.huggingface.wire import InferenceRequest
from tests.test_docs import PAGES, quoted, rows

PAGE = "docs/clients.md"
SECTIONS = {"openai": "## OpenAI", "a1111": "## AUTOMATIC1111", "huggingface": "## Hugging Face"}
"""Headings, by name of the dialect. docs/api.md has the routes of the native one."""
OTHERS = {dialect.name: dialect for dialect in DIALECTS if dialect.name != "native"}


def section(name: str) -> str:
    _, text = PAGES[PAGE].split(f"\n{SECTIONS[name]}\n", 1)
    return text.split("\n## ", 1)[0]


def documented_routes(name: str) -> set[str]:
    """`METHOD /path` of the section's table of routes, without the names of parameters."""
    cells = [row[0] for row in rows(PAGE, f"{SECTIONS[name]}")]
    found = [route for cell in cells for route in quoted(cell) if re.match(r"[A-Z]+ /", route)]
    return {re.sub(r"\{\w+\}", "{}", route) for route in found}


def routes_of(dialect: Dialect) -> Iterator[str]:
    """Yield the routes that a dialect adds, and those whose bodies it extends."""
    alone = replace(dialect, route_handlers=(*dialect.route_handlers, *dialect.replaces.values()), replaces={})
    plugin = DiffusionPlugin(DiffusionConfig(dialects=(alone,), routes=ROUTE_GROUPS - {"metrics", "page"}))
    for route in Litestar(plugins=[plugin], openapi_config=None).routes:
        for method in getattr(route, "methods", set[str]()) - {"OPTIONS", "HEAD"}:
            yield f"{method} {re.sub(r'{[^}]+}', '{}', route.path)}"


@pytest.mark.parametrize("name", SECTIONS)
def test_the_routes_of_a_section_are_those_of_its_dialect(name: str) -> None:
    """A section of a dialect that is not in the tree says so, and stops saying so when it is."""
    assert ("To come: " in section(name)) == (name not in OTHERS)
    if name in OTHERS:
        assert documented_routes(name) == set(routes_of(OTHERS[name]))


def test_every_dialect_has_a_section_and_a_switch() -> None:
    assert OTHERS.keys() <= SECTIONS.keys()
    assert set(DialectsSettings.__struct_fields__) == SECTIONS.keys()


def test_the_first_table_names_every_switch() -> None:
    assert {row[2] for row in rows(PAGE, "# Clients")[2:]} == {f"`dialects.{name}`" for name in SECTIONS}


def test_every_usual_alias_is_named() -> None:
    assert set(USUAL_ALIASES) <= quoted(PAGES[PAGE])


def test_the_fields_of_hugging_face_are_those_of_its_body() -> None:
    (parameters,) = (field.type for field in msgspec.structs.fields(InferenceRequest) if field.name == "parameters")
    known = {"inputs", "options", *(f"parameters.{name}" for name in parameters.__struct_fields__)}
    named = quoted("\n".join(row[0] for row in rows(PAGE, "A body with `inputs`")))
    assert named <= known
    assert "parameters.scheduler" in named
