"""Calls every operation of the client that openapi-python-client has generated as the package `generated`.

Run by test_generated_clients.py, in an environment that has the client's dependencies.
"""

import importlib
import pkgutil
import sys
import time
from typing import Any

import generated.api
import httpx
from generated import Client
from generated.models import GenerationParameters, GenerationParametersOutputFormatType1, Problem, UpscaleParameters

PICTURE = (
    "iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAIAAACQkWg2AAAAQElEQVR42mNUdrvOQApgYiAR0F4DC6bQzhs+cLa7xhYCNiCrxuSi"
    "a8CUxhQchKGEogEzTDAFmfBLYxrBOAzSEgA0nhGhIcYh3gAAAABJRU5ErkJggg=="
)
"""A file of 16 x 16 pixels, in base64."""

client = Client(base_url=sys.argv[1], raise_on_unexpected_status=True, timeout=httpx.Timeout(60))
modules = [found.name for found in pkgutil.walk_packages(generated.api.__path__, "generated.api.") if not found.ispkg]
operations = {name.rpartition(".")[2]: importlib.import_module(name) for name in modules}
used: set[str] = set()


def call(name: str, *arguments: str, **options: Any) -> Any:
    """The decoded answer of an operation, which must be a good one."""
    used.add(name)
    answer = operations[name].sync_detailed(*arguments, client=client, **options)
    assert answer.status_code < 300, (name, answer.content)
    assert answer.parsed is not None, (name, "the client does not understand the answer", answer.content[:200])
    return answer.parsed


body = GenerationParameters(prompt="a red circle", num_inference_steps=1, seed=2**64 - 1)
assert call("live").status == "live"
assert call("ready").status == "ready"
assert "demo" in call("facts").models
assert call("list_models")
assert call("load_model", "demo").residency == "device"
assert call("pin_model", "demo").pinned
assert not call("unpin_model", "demo").pinned
assert call("show_model", "demo").overrides.few_step is None
assert call("show_pool").models

made = call("generate", "demo", body=body)
assert (made.images[0].seed, made.images[0].media_type) == (2**64 - 1, "image/png")
assert call("generate", "demo", body=body, dry_run=True).dry_run

sent = call("send_job", "demo", body=body, idempotency_key="every operation")
assert "event: done" in call("follow_job", sent.id)
while (shown := call("show_job", sent.id)).state not in ("done", "failed"):
    time.sleep(0.05)
assert shown.result.images[0].image == made.images[0].image
assert sent.id in {job.id for job in call("list_jobs")}
assert call("job_image", sent.id, 0).startswith(b"\x89PNG")
assert call("cancel_job", sent.id).state == "done"
assert call("unload_model", "demo").residency == "cold"

assert "outline" in {adapter.name for adapter in call("list_adapters")}
assert call("show_adapter", "outline").name == "outline"
assert call("unload_adapter", "outline").name == "outline"
assert "turquoise" in {embedding.name for embedding in call("list_embeddings")}
assert call("list_vaes") == []
used.add("show_vae")
assert isinstance(operations["show_vae"].sync("none", client=client), Problem)
assert "euler" in {sampler.name for sampler in call("list_samplers")}
assert "lanczos" in {upscaler.name for upscaler in call("list_upscalers")}
larger = call("upscale", body=UpscaleParameters(image=PICTURE, upscaler="lanczos", scale=2))
assert (larger.images[0].width, larger.images[0].height) == (32, 32)
assert "litestar_diffusion" in call("metrics")

wrong = operations["generate"].sync("demo", client=client, body=GenerationParameters(prompt="x", n=99))
assert isinstance(wrong, Problem)
assert wrong.errors[0].field == "n"
assert GenerationParametersOutputFormatType1.PNG == "png"
assert used == set(operations), f"not called: {set(operations) - used}"
