"""Adapters and VAEs of real files on a real server: they change pictures, harm no weights, and share steps."""

import base64
import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.conftest import ROOT, Server, launch, stop
from tests.pictures import opened

pytestmark = pytest.mark.dtype

DEMO = ROOT / "models" / "demo.safetensors"
BODY = {"prompt": "a red circle on a blue background", "seed": 7, "num_inference_steps": 6}
UNET, VAE = "model.diffusion_model.", "first_stage_model."


def lora_of(weights: dict[str, torch.Tensor], seed: int) -> dict[str, torch.Tensor]:
    """A LoRA of rank 2 in PEFT's naming, with random factors for the attention of the demo's UNet."""
    draw = torch.Generator().manual_seed(seed)
    found: dict[str, torch.Tensor] = {}
    for key, weight in weights.items():
        if key.startswith(UNET) and key.endswith((".to_q.weight", ".to_v.weight")):
            name = f"diffusion_model.{key.removeprefix(UNET).removesuffix('.weight')}"
            found[f"{name}.lora_A.weight"] = torch.randn(2, weight.shape[1], generator=draw)
            found[f"{name}.lora_B.weight"] = torch.randn(weight.shape[0], 2, generator=draw) * 0.2
    assert found
    return found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("adapters")
    models, weights = folder / "models", load_file(DEMO)
    for name in ("loras", "vae"):
        (models / name).mkdir(parents=True)
    for seed, name in enumerate(("ink", "My Style")):
        save_file(lora_of(weights, seed), models / "loras" / f"{name}.safetensors")
    vae = {key.removeprefix(VAE): tensor for key, tensor in weights.items() if key.startswith(VAE)}
    save_file(vae, models / "vae" / "same.safetensors")
    save_file({**vae, "decoder.conv_out.bias": vae["decoder.conv_out.bias"] + 0.5}, models / "vae" / "pale.safetensors")
    for name in ("same", "pale"):
        (models / "vae" / f"{name}.config").mkdir()
        shutil.copy(ROOT / "models/demo.config/vae/config.json", models / "vae" / f"{name}.config" / "config.json")
    (models / "inked.toml").write_text('base = "demo"\nadapters = [{name = "ink"}]\n')
    (models / "pale.toml").write_text('base = "demo"\nvae = "pale"\n')
    started = launch(folder, {"LITESTAR_DIFFUSION__MODELS__DIRECTORY": str(models)})
    try:
        started.wait_until("/health/ready")
        yield started
    finally:
        stop(started)


def made(server: Server, model: str = "demo", **body: Any) -> bytes:
    answer = server.client.post(f"/generate/{model}", json={**BODY, **body})
    assert answer.status_code == 200, answer.text
    return base64.b64decode(answer.json()["images"][0]["image"])


def pixels(file: bytes) -> np.ndarray[Any, Any]:
    return np.asarray(opened(file).convert("RGB"), dtype=int)


def differ(one: bytes, other: bytes) -> float:
    """Mean difference of two pictures, in steps of 1/255."""
    return float(np.abs(pixels(one) - pixels(other)).mean())


def test_an_adapter_changes_the_picture_and_the_base_is_the_same_to_the_byte_before_and_after(server: Server) -> None:
    before = made(server, reproducible=True)
    inked = made(server, prompt=f"{BODY['prompt']} <lora:ink:1>", reproducible=True)
    assert differ(before, inked) > 2
    assert differ(inked, made(server, adapters=[{"name": "ink", "weight": 0.3}], reproducible=True)) > 1
    assert differ(inked, made(server, adapters=[{"name": "my style"}], reproducible=True)) > 2
    unused = made(server, adapters=[{"name": "ink", "weight": 0}], reproducible=True)
    assert pixels(unused).tobytes() == pixels(before).tobytes()
    assert made(server, reproducible=True) == before


def test_a_field_a_tag_and_a_preset_make_the_same_picture_which_its_receipt_makes_again(server: Server) -> None:
    by_field = made(server, adapters=[{"name": "ink"}], reproducible=True)
    by_tag = made(server, prompt=f"{BODY['prompt']} <lora:ink:1>", reproducible=True)
    by_preset = made(server, "inked", reproducible=True)
    assert by_field == by_tag
    assert pixels(by_field).tobytes() == pixels(by_preset).tobytes()
    for model, file in (("demo", by_tag), ("inked", by_preset)):
        receipt = opened(file).info["litestar-diffusion"]
        answer = server.client.post(f"/generate/{model}", json=json.loads(receipt)["request"]).json()
        assert base64.b64decode(answer["images"][0]["image"]) == file
        assert answer["warnings"] == []


def test_a_preset_costs_only_the_bytes_of_its_adapter(server: Server) -> None:
    made(server)
    made(server, "inked")
    pool = server.client.get("/pool").json()
    shared = [part for part in pool["components"] if {"demo", "inked"} <= set(part["models"])]
    assert len(shared) == 4
    own = [part["name"] for part in pool["components"] if part["models"] == ["inked"]]
    assert own == []
    assert {one["name"] for one in pool["adapters"]} >= {"ink"}


def test_requests_with_different_adapters_share_steps_and_equal_their_solo_runs(server: Server) -> None:
    tags = ("", "<lora:ink:1>", "<lora:My Style:1>", "<lora:ink:0.5><lora:My Style:0.5>")
    prompts = [f"{BODY['prompt']} {tag}" for tag in tags]
    alone = [made(server, prompt=prompt) for prompt in prompts]
    with ThreadPoolExecutor(len(prompts)) as threads:
        for _ in range(5):
            together = list(threads.map(lambda prompt: made(server, prompt=prompt), prompts))
            receipts = [opened(file).info["litestar-diffusion"] for file in together]
            if any('"shared_steps":true' in receipt for receipt in receipts):
                break
    assert any('"shared_steps":true' in receipt for receipt in receipts)
    for one, other in zip(alone, together, strict=True):
        assert differ(one, other) < 1


def test_requests_to_presets_and_to_their_base_share_steps_and_equal_their_solo_runs(server: Server) -> None:
    models = ("demo", "inked")
    alone = [made(server, name, num_inference_steps=40) for name in models]
    with ThreadPoolExecutor(len(models)) as threads:
        for _ in range(5):
            together = list(threads.map(lambda name: made(server, name, num_inference_steps=40), models))
            if all('"shared_steps":true' in opened(file).info["litestar-diffusion"] for file in together):
                break
        else:
            pytest.fail("the preset shared no step with its base")
    for one, other in zip(alone, together, strict=True):
        assert differ(one, other) < 1
    assert [made(server, name, num_inference_steps=40) for name in models] == alone


def test_a_vae_replaces_the_models_own_and_an_equal_one_changes_nothing(server: Server) -> None:
    own = made(server, reproducible=True)
    pale = made(server, vae="pale", reproducible=True)
    assert pixels(pale).mean() > pixels(own).mean() + 20
    assert pixels(made(server, vae="same", reproducible=True)).tobytes() == pixels(own).tobytes()
    assert pixels(made(server, "pale", reproducible=True)).tobytes() == pixels(pale).tobytes()
    assert pixels(made(server, "pale", vae="model", reproducible=True)).tobytes() == pixels(own).tobytes()
    assert made(server, reproducible=True) == own
    shared = [part for part in server.client.get("/pool").json()["components"] if part["vaes"] == ["same"]]
    assert [(part["name"], "demo" in part["models"]) for part in shared] == [("vae", True)]


def test_lists_tell_what_the_files_are(server: Server) -> None:
    adapters = {one["name"]: one for one in server.client.get("/adapters").json()}
    assert list(adapters) == ["My-Style", "ink", "outline"]
    assert adapters["outline"]["builtin"]
    facts = adapters["ink"]["facts"]
    assert (facts["family"], facts["format"], facts["ranks"], facts["components"]) == ("sdxl", "peft", [2], ["unet"])
    assert adapters["ink"]["memory_nbytes"] > 0
    vaes = server.client.get("/vaes").json()
    assert [(one["name"], one["usable"], one["family"]) for one in vaes] == [
        ("pale", True, "sdxl"),
        ("same", True, "sdxl"),
    ]
    models = {one["name"]: one["usable"] for one in server.client.get("/models").json()}
    assert models["inked"]
    assert not {"ink", "My-Style", "same"} & set(models)
