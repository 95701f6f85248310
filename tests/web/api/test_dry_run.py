"""`?dry_run=true` on real servers: it changes nothing, and what it foretells is what then happens."""

from typing import Any

import pytest

from tests.conftest import Server, StartServer
from tests.web.http.errors.test_problems import check

pytestmark = pytest.mark.dtype

PROMPT = {"prompt": "a red circle on a blue background", "seed": 7, "num_inference_steps": 2}
COLD = {"LITESTAR_DIFFUSION__MODELS__DEFAULT": ""}


def run(server: Server, model: str = "demo", **body: Any) -> dict[str, Any]:
    answer = server.client.post(f"/generate/{model}?dry_run=true", json={**PROMPT, **body})
    assert answer.status_code == 200, answer.text
    return answer.json()


def generate(server: Server, model: str = "demo", **body: Any) -> dict[str, Any]:
    answer = server.client.post(f"/generate/{model}", json={**PROMPT, **body})
    assert answer.status_code == 200, answer.text
    return answer.json()


def evicted(server: Server) -> list[tuple[str, int]]:
    """What was unloaded so far, in order."""
    decisions = server.client.get("/pool").json()["decisions"]
    return [
        (one["facts"]["model"], one["facts"]["nbytes"])
        for one in reversed(decisions)
        if one["what"] == "model_unloaded"
    ]


def test_nothing_is_loaded_and_what_is_told_then_happens(start_server: StartServer, one_model: dict[str, str]) -> None:
    """Memory holds one model: each request for the other evicts the one that is there."""
    server = start_server(**one_model)
    server.wait_until("/health/ready")
    before = server.client.get("/pool").json()
    told = run(server)
    assert told["dry_run"] is True
    assert (told["residency"], told["evictions"], told["download"]) == ("cold", [], False)
    assert (told["estimate"]["load_s"], told["estimate"]["total_s"]) == (None, None), "nothing is known yet"
    assert server.client.get("/pool").json() == before
    assert before["models"] == [] == before["components"] == before["decisions"]

    made = generate(server)
    assert (made["parameters"], made["residency"]) == (told["parameters"], "cold")
    resident = server.client.get("/pool").json()["host"]["weights_nbytes"]
    assert told["memory"]["weights_nbytes"] == pytest.approx(resident, rel=1e-3), "but for gaps between tensors"
    again = run(server)
    assert (again["residency"], again["evictions"]) == ("hot", [])
    assert again["estimate"]["load_s"] == 0
    assert again["estimate"]["total_s"] > 0

    for model, other in [("demo-vpred", "demo"), ("demo", "demo-vpred")]:
        eviction_preview = run(server, model)
        assert [(one["model"], one["tier"]) for one in eviction_preview["evictions"]] == [(other, "host")]
        assert set(eviction_preview["evictions"][0]["components"]) == {"unet", "vae", "text_encoder", "text_encoder_2"}
        assert eviction_preview["waits_for_memory"] is False
        gone = evicted(server)
        assert generate(server, model)["residency"] == eviction_preview["residency"] == "cold"
        assert evicted(server)[len(gone) :] == [(one["model"], one["nbytes"]) for one in eviction_preview["evictions"]]
    assert run(server, "demo-vpred")["estimate"]["load_s"] > 0, "as long as the last time"

    assert server.client.post("/models/demo/pin").json()["pinned"] is True
    for path in ("/generate/demo-vpred?dry_run=true", "/generate/demo-vpred"):
        refused = check(server.client.post(path, json=PROMPT), 503, "insufficient_memory")
        assert refused["needed_nbytes"] > refused["available_nbytes"]


@pytest.mark.parametrize(
    ("model", "body"),
    [
        ("demo", {}),
        ("demo", {"sampler": "DPM++ 2M Karras", "guidance_scale": 1, "negative_prompt": "green"}),
        ("demo", {"prompt": "a (red:20) circle " * 200, "long_prompts": False, "clip_skip": 5}),
        ("demo-vpred", {"sampler": "pndm", "n": 2, "width": 96, "output_format": "webp"}),
        ("demo-vpred", {"negative_prompt": "a green star " * 40, "prompt_2": "a [blue] ring BREAK on white"}),
    ],
)
def test_parameters_and_warnings_are_those_of_the_request_itself(
    server: Server, model: str, body: dict[str, Any]
) -> None:
    told, made = run(server, model, **body), generate(server, model, **body)
    assert told["parameters"] == made["parameters"]
    assert told["warnings"] == made["warnings"]
    assert told["memory"]["savings"] == made["memory_savings"]


def test_tokens_are_counted_as_the_models_own_tokenizer_reads_them(server: Server) -> None:
    told = run(server, prompt="a (red:1.3) circle", negative_prompt="green BREAK blue", prompt_2="")
    shown = [{name: value for name, value in prompt.items() if name != "schedule"} for prompt in told["prompts"]]
    assert [len(prompt["schedule"]) for prompt in told["prompts"]] == [1, 1, 1]
    assert shown == [
        {"field": "prompt", "tokens": 3, "chunks": 1, "ignored": []},
        {"field": "prompt_2", "tokens": 0, "chunks": 1, "ignored": []},
        {"field": "negative_prompt", "tokens": 2, "chunks": 2, "ignored": []},
    ]
    cut = run(server, prompt="red " * 100 + "zebra", long_prompts=False, guidance_scale=1)["prompts"]
    assert [prompt["field"] for prompt in cut] == ["prompt"], "nothing else acts"
    assert cut[0]["tokens"] > 100
    assert cut[0]["chunks"] == 1
    assert "zebra" in cut[0]["ignored"][0]


def test_the_sampler_is_told_as_it_will_run(server: Server) -> None:
    plain = run(server, num_inference_steps=5)["sampler"]
    assert (plain["name"], plain["scheduler"]) == ("euler", "EulerDiscreteScheduler")
    assert plain["evaluations"] == len(plain["timesteps"]) == 5
    assert plain["config"]["prediction_type"] == plain["prediction_type"] == "epsilon"
    karras = run(server, "demo-vpred", sampler="DPM++ 2M Karras")["sampler"]
    assert karras["scheduler"] == "DPMSolverMultistepScheduler"
    assert karras["config"]["use_karras_sigmas"] is True
    assert karras["config"]["rescale_betas_zero_snr"] is karras["zero_snr"] is True
    assert karras["config"]["timestep_spacing"] == karras["timestep_spacing"] == "trailing"
    assert karras["sigmas"] == sorted(karras["sigmas"], reverse=True)
    assert run(server, sampler="heun", num_inference_steps=5)["sampler"]["evaluations"] == 9


def test_a_seed_that_is_left_out_is_drawn_and_the_parameters_can_be_posted(server: Server) -> None:
    told = run(server, seed=None)["parameters"]
    assert told["seed"] != run(server, seed=None)["parameters"]["seed"]
    assert server.client.post("/generate/demo", json=told).json()["parameters"] == told


@pytest.mark.parametrize(
    ("model", "body", "accept", "status", "code"),
    [
        ("nope", PROMPT, "*/*", 404, "unknown_model"),
        ("demo", {}, "*/*", 400, "invalid_request"),
        ("demo", {**PROMPT, "width": 130, "n": 99, "sampler": "nope"}, "*/*", 400, "invalid_request"),
        ("demo", {**PROMPT, "n": 2}, "image/png", 400, "invalid_request"),
    ],
)
def test_errors_are_those_of_the_request_itself(
    server: Server, model: str, body: dict[str, Any], accept: str, status: int, code: str
) -> None:
    told, real = (
        check(server.client.post(f"/generate/{model}{query}", json=body, headers={"accept": accept}), status, code)
        for query in ("?dry_run=true", "")
    )
    assert {**told, "instance": ""} == {**real, "instance": ""}


@pytest.mark.slow
def test_a_broken_model_is_refused_with_its_reason(start_server: StartServer, tmp_path: Any) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "broken.safetensors").write_bytes(b"nothing")
    server = start_server(**COLD, LITESTAR_DIFFUSION__MODELS__DIRECTORY=str(tmp_path / "models"))
    server.wait_until("/health/ready")
    told, real = (
        check(server.client.post(f"/generate/broken{query}", json=PROMPT), 422, "unusable_model")
        for query in ("?dry_run=true", "")
    )
    assert told["detail"] == real["detail"]


def test_what_does_not_fit_is_refused_with_the_largest_size_that_would(start_server: StartServer) -> None:
    full = {**COLD, "LITESTAR_DIFFUSION__MODELS__DTYPE": "float32"}  # the sizes below are those of float32
    server = start_server(**full, LITESTAR_DIFFUSION__MEMORY__HOST="100000000")
    server.wait_until("/health/ready")
    body = {**PROMPT, "width": 2048, "height": 2048}
    told, real = (
        check(server.client.post(f"/generate/demo{query}", json=body), 503, "insufficient_memory")
        for query in ("?dry_run=true", "")
    )
    assert told["largest_width"] == real["largest_width"]
    assert told["needed_nbytes"] == real["needed_nbytes"]
    frugal = run(server, width=768, height=768, num_inference_steps=1)
    assert frugal["memory"]["savings"] == ["tiled_decode"]
    assert frugal["memory"]["weights_nbytes"] + frugal["memory"]["activation_nbytes"] <= 100_000_000


def test_it_answers_json_whatever_is_accepted(server: Server) -> None:
    answer = server.client.post("/generate/demo?dry_run=true", json=PROMPT, headers={"accept": "image/webp"})
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.json()["parameters"]["output_format"] == "webp"


def test_a_value_that_is_no_boolean_is_refused_and_the_document_describes_it(server: Server) -> None:
    problem = check(server.client.post("/generate/demo?dry_run=perhaps", json=PROMPT), 400, "invalid_request")
    assert problem["errors"][0]["field"] == "dry_run"
    document = server.client.get("/schema/openapi.json").json()
    operation = document["paths"]["/generate/{model_name}"]["post"]
    parameter = next(one for one in operation["parameters"] if one["name"] == "dry_run")
    assert "Nothing is loaded" in parameter["description"]
    assert any(name.endswith("DryRunView") for name in document["components"]["schemas"])
