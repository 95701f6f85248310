"""Health, models, documents and pages of a real server."""

import re
import threading
import time
from urllib.parse import urljoin, urlsplit

import pytest

from tests.conftest import Server, StartServer


def test_alive_within_two_seconds_of_process_start_and_while_torch_is_imported(start_server: StartServer) -> None:
    server = start_server()
    alive_s = server.wait_until("/health/live")
    ready = server.client.get("/health/ready")
    assert ready.status_code == 503, "torch cannot have been imported that fast"
    assert ready.json()["status"] == "starting"
    assert alive_s < 10, "the bound is generous, because test machines are busy; the README has the measured time"


def test_health_answers_while_an_image_is_made(server: Server) -> None:
    """The event loop is never blocked: health is answered many times between the start and the end of a generation."""
    done = threading.Event()

    def generate() -> None:
        body = {"prompt": "a red circle", "num_inference_steps": 60, "n": 2}
        assert server.client.post("/generate/demo", json=body).status_code == 200
        done.set()

    worker = threading.Thread(target=generate)
    worker.start()
    answers = 0
    while not done.is_set():
        assert server.client.get("/health/live").status_code == 200
        answers += 1
    worker.join()
    assert answers >= 20


def test_models_are_listed_with_traits_and_evidence(server: Server) -> None:
    models = {model["name"]: model for model in server.client.get("/models").json()}
    assert models["demo"]["usable"]
    assert models["demo"]["residency"] == "device"
    assert models["demo-vpred"]["traits"]["prediction_type"] == "v_prediction"
    assert models["demo-vpred"]["traits"]["zero_snr"]
    assert any("key v_pred" in line for line in models["demo-vpred"]["evidence"])
    turbo = models["demo-turbo"]["traits"]
    assert (turbo["few_step"]["kind"], turbo["prediction_type"]) == ("turbo", "v_prediction")
    assert server.client.get("/models/demo").json()["name"] == "demo"


def test_a_model_can_be_loaded_and_unloaded_by_hand(server: Server) -> None:
    server.client.post("/models/demo-vpred/unload")
    loaded = server.client.post("/models/demo-vpred/load").json()
    assert (loaded["was"], loaded["residency"]) == ("cold", "device")
    assert "demo-vpred" in server.client.get("/").json()["loaded"]
    unloaded = server.client.post("/models/demo-vpred/unload").json()
    assert (unloaded["was"], unloaded["residency"]) == ("device", "cold")
    assert "demo-vpred" not in server.client.get("/").json()["loaded"]


def test_switching_away_and_back_gives_the_same_image(server: Server) -> None:
    body = {"prompt": "a green star on a white background", "seed": 5}
    first = server.client.post("/generate/demo", json=body).json()["images"]
    server.client.post("/generate/demo-vpred", json=body)
    server.client.post("/models/demo/unload")
    again = server.client.post("/generate/demo", json=body).json()
    assert again["residency"] == "cold"
    assert again["images"] == first


def test_the_service_says_what_it_is(server: Server) -> None:
    facts = server.client.get("/").json()
    assert facts["service"] == "litestar-diffusion"
    assert facts["device"] == "cpu"
    assert facts["ready"]
    assert {"demo", "demo-vpred"} <= set(facts["models"])


def test_a_request_id_is_taken_over_or_made(server: Server) -> None:
    assert server.client.get("/health/live", headers={"x-request-id": "mine-1"}).headers["x-request-id"] == "mine-1"
    made = server.client.get("/health/live", headers={"x-request-id": "bad id\twith junk"}).headers["x-request-id"]
    assert re.fullmatch("[0-9a-f]{32}", made)


def test_a_request_logs_one_line_without_its_prompt(server: Server) -> None:
    server.client.post("/generate/demo", json={"prompt": "a secret wish"}, headers={"x-request-id": "logged-1"})
    lines = _lines_with(server, "logged-1")
    assert len(lines) == 1
    for fact in ('"model":"demo"', '"residency":"hot"', '"seed":', '"denoise_ms":', '"status":200', '"size":"128x128"'):
        assert fact in lines[0]
    assert "secret wish" not in server.log.read_text()


def _lines_with(server: Server, text: str) -> list[str]:
    """The line is written after the response has been sent, so it may come a moment later."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        if lines := [line for line in server.log.read_text().splitlines() if text in line]:
            return lines
        time.sleep(0.01)
    return []


def test_the_examples_of_the_document_work_when_pasted(server: Server) -> None:
    document = server.client.get("/schema/openapi.json").json()
    operation = document["paths"]["/generate/{model_name}"]["post"]
    examples = operation["requestBody"]["content"]["application/json"]["examples"]
    assert examples.keys() == {"picture", "everything", "huggingface"}
    wanted = operation["responses"]["200"]["content"]
    assert set(wanted) == {"application/json", "image/png", "image/jpeg", "image/webp"}
    for example in examples.values():
        for media_type in wanted:
            answer = server.client.post("/generate/demo", json=example["value"], headers={"accept": media_type})
            assert answer.status_code == 200, answer.text
            assert answer.headers["content-type"] == media_type
    assert "application/problem+json" in operation["responses"]["400"]["content"]


@pytest.mark.parametrize("page", ["/schema", "/schema/redoc"])
def test_pages_load_nothing_from_elsewhere(server: Server, page: str) -> None:
    html = server.client.get(page).text
    sources = re.findall(r'(?:src|href)="([^"]+)"', html)
    assert sources
    for source in sources:
        assert not urlsplit(source).netloc, source
        assert server.client.get(urljoin(page, source)).status_code == 200, source


def test_every_operation_and_parameter_of_the_document_is_described(server: Server) -> None:
    document = server.client.get("/schema/openapi.json").json()
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    assert all(operation["summary"] and operation["description"] for operation in operations)
    assert all(re.fullmatch("[a-z0-9_]+", operation["operationId"]) for operation in operations)
    assert all(parameter["description"] for operation in operations for parameter in operation.get("parameters", []))
    answers = [answer for operation in operations for answer in operation["responses"].values()]
    assert not [answer for answer in answers if answer["description"] in ("Request fulfilled, document follows", "")]
    failures = [
        answer for operation in operations for status, answer in operation["responses"].items() if status >= "400"
    ]
    kinds = {kind for answer in failures for kind in answer["content"]}
    assert kinds == {"application/problem+json", "application/json"}, "the latter is /health/ready's 503"
    fields = document["components"]["schemas"]["GenerationParameters"]["properties"]
    assert [name for name, field in fields.items() if not field.get("description")] == []


def test_limits_and_samplers_are_told(server: Server) -> None:
    limits = server.client.get("/").json()["limits"]
    asked = {"prompt": "x", "n": limits["max_n"] + 1}
    refused = server.client.post("/generate/demo?dry_run=true", json=asked)
    assert (
        f"at most {limits['max_n']}" in refused.text or str(limits["max_n"]) in refused.json()["errors"][0]["message"]
    )
    for sampler in server.client.get("/samplers").json():
        body = {"prompt": "x", "sampler": sampler["label"], "schedule": sampler["schedules"][-1]}
        planned = server.client.post("/generate/demo?dry_run=true", json=body)
        assert planned.status_code == 200, planned.text
        assert planned.json()["parameters"]["schedule"] == sampler["schedules"][-1]
