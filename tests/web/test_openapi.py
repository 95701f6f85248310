"""The OpenAPI document says what the server does: limits, errors, names, and types that code generators understand."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from litestar import Litestar

from litestar_diffusion import DiffusionConfig, DiffusionPlugin
from litestar_diffusion.domain.memory.snapshot import AssetStatus
from litestar_diffusion.domain.models.spec import ModelOverrides
from litestar_diffusion.settings import LimitsSettings, Settings
from litestar_diffusion.testing import model
from litestar_diffusion.web.api.views import OverridesView, model_view

DIALECTS = {"a1111", "openai"}
"""Tags of the routes that answer errors in the shapes of other servers."""
LIMITS = LimitsSettings(max_n=3, max_steps=77, max_side_px=2048, min_side_px=128, max_prompt_chars=99)


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """Of an application that embeds the plugin."""
    application = Litestar(plugins=[DiffusionPlugin(DiffusionConfig(path="/images", settings=Settings(limits=LIMITS)))])
    return application.openapi_schema.to_schema()


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        yield from ((f"{method.upper()} {path}", operation) for method, operation in item.items())


def test_no_two_types_have_one_name(document: dict[str, Any]) -> None:
    """Litestar puts the module before a name that two types have, and code generators leave both out."""
    assert [name for name in document["components"]["schemas"] if "_" in name] == []


def test_bodies_are_closed_and_have_the_limits_of_the_settings(document: dict[str, Any]) -> None:
    schema = document["components"]["schemas"]["GenerationParameters"]
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["prompt"]
    fields = schema["properties"]
    assert (fields["n"]["minimum"], fields["n"]["maximum"]) == (1, 3)
    assert (fields["width"]["minimum"], fields["height"]["maximum"]) == (128, 2048)
    assert fields["num_inference_steps"]["maximum"] == 77
    assert fields["prompt_2"]["maxLength"] == 99
    assert fields["seed"]["maximum"] == 2**64 - 1
    assert (fields["guidance_scale"]["minimum"], fields["guidance_scale"]["maximum"]) == (0, 100)
    assert [field for field in fields.values() if "default" in field] == [], "generators take such fields for required"


def test_null_is_allowed_where_a_field_may_be_absent(document: dict[str, Any]) -> None:
    fields = document["components"]["schemas"]["GenerationParameters"]["properties"]
    nullable = [
        name
        for name, field in fields.items()
        if "null" in field.get("type", ()) or {"type": "null"} in field.get("oneOf", ())
    ]
    assert set(fields) - set(nullable) == {"prompt"}
    assert None in fields["output_format"]["enum"]


def test_every_error_is_documented_as_a_problem_document(document: dict[str, Any]) -> None:
    others = {
        (name, status)
        for name, operation in operations(document)
        if not DIALECTS & set(operation["tags"])
        for status, answer in operation["responses"].items()
        if status >= "400" and list(answer["content"]) != ["application/problem+json"]
    }
    assert others == {("GET /images/health/live", "503"), ("GET /images/health/ready", "503")}
    assert "406" in document["paths"]["/images/generate/{model_name}"]["post"]["responses"]


def test_a_path_parameter_is_called_what_it_is(document: dict[str, Any]) -> None:
    names = {
        name: [p["name"] for p in operation.get("parameters", ()) if p["in"] == "path"]
        for name, operation in operations(document)
    }
    path = "/images/jobs/{model_or_job}"
    assert names[f"POST {path}"] == names[f"GET {path}"] == names[f"DELETE {path}"] == ["model_or_job"]
    described = {
        method: operation["parameters"][0]["description"] for method, operation in document["paths"][path].items()
    }
    assert "model" in described["post"]
    assert described["get"] == described["delete"] == "Id of a job."


def test_no_field_mixes_words_and_booleans(document: dict[str, Any]) -> None:
    mixed = [
        (name, field)
        for name, schema in document["components"]["schemas"].items()
        for field, declared in schema["properties"].items()
        if len({type(value) for value in declared.get("enum", ()) if value is not None}) > 1
    ]
    assert mixed == []


def test_what_a_person_has_said_of_a_model_is_shown_whole() -> None:
    stated = ModelOverrides(few_step=False, sampler="euler", width=512)
    status = AssetStatus(
        residency="cold", nbytes=0, leases=0, waiting=0, pinned=False, loading=None, last_used_s_ago=None
    )
    shown = model_view(replace(model("demo"), overrides=stated), status).overrides
    assert (shown.few_step, shown.sampler, shown.width, shown.clip_skip) == ("none", "euler", 512, None)
    assert OverridesView.__struct_fields__ == ModelOverrides.__struct_fields__
