"""A server on a simulated CUDA device makes the images that the CPU makes, and never waits for the device between two steps."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from litestar import Litestar
from litestar.testing import TestClient

from litestar_diffusion.domain.requests.samplers import SAMPLERS
from tests.simulated_gpu import SimulatedGpu, simulated_gpus
from tests.simulated_gpu.served import made, picture, served

pytestmark = pytest.mark.slow

Client = TestClient[Litestar]
KINDS: dict[str, dict[str, Any]] = {
    "text": {},
    "no guidance": {"guidance_scale": 1.0},
    "three images": {"n": 3},
    "rescaled guidance": {"negative_prompt": "a green star", "guidance_rescale": 0.5},
    "weighted words": {"prompt": "a (red:1.4) [circle|star]"},
    "prompt editing": {"prompt": "a [red:blue:0.5] circle"},
    "large": {"width": 512, "height": 384, "num_inference_steps": 1},
    "picture": {"image": picture()},
    "mask": {"image": picture(), "mask": picture()},
    "mask of noise": {"image": picture(), "mask": picture(), "mask_content": "noise"},
    "latents enlarged": {"hires": {"scale": 1.5, "upscaler": "latent", "strength": 0.6}},
    "pixels enlarged": {"hires": {"scale": 2, "upscaler": "lanczos", "strength": 0.5}},
    "model upscaler": {"hires": {"scale": 2, "upscaler": "demo-x2", "strength": 0.5}},
    "adapter": {"prompt": "a red circle <lora:outline:1>"},
    "embedding": {"prompt": "a turquoise circle"},
    "v-prediction": {"model": "demo-vpred"},
    "turbo": {"model": "demo-turbo", "num_inference_steps": 1, "guidance_scale": 1.0},
}


@pytest.fixture(scope="module")
def cpu() -> Iterator[dict[str, list[np.ndarray[Any, Any]]]]:
    with served("cpu") as client:
        yield {name: made(client, **stated) for name, stated in KINDS.items()}


@pytest.fixture(scope="module")
def gpu(cpu: object) -> Iterator[tuple[SimulatedGpu, Client]]:
    with simulated_gpus() as [gpu], served("cuda") as client:
        yield gpu, client


@pytest.mark.parametrize("kind", KINDS)
def test_its_images_are_those_of_the_cpu(
    kind: str, cpu: dict[str, list[np.ndarray[Any, Any]]], gpu: tuple[SimulatedGpu, Client]
) -> None:
    found = made(gpu[1], **KINDS[kind])
    assert len(found) == len(cpu[kind])
    for image, expected in zip(found, cpu[kind], strict=True):
        np.testing.assert_array_equal(image, expected)


AT_THE_END = 2
"""Times that an image waits for the device: whether its pixels are finite, and the pixels."""


def waits(gpu: tuple[SimulatedGpu, Client], **stated: Any) -> list[int]:
    """Times that two requests wait, which differ in their steps; a first one has encoded the prompt and the picture."""
    device, client = gpu
    found = list[int]()
    for steps in (2, 3, 6):
        before = device.waits
        made(client, **{**stated, "num_inference_steps": steps, "width": 64, "height": 64})
        found.append(device.waits - before)
    return found[1:]


@pytest.mark.parametrize("sampler", [spec.name for spec in SAMPLERS])
def test_no_sampler_waits_for_the_device_between_steps(sampler: str, gpu: tuple[SimulatedGpu, Client]) -> None:
    assert waits(gpu, sampler=sampler) == [AT_THE_END] * 2


@pytest.mark.parametrize("kind", ["picture", "mask", "adapter", "rescaled guidance"])
@pytest.mark.parametrize("sampler", ["euler", "ddim", "dpmpp_2m_sde"])
def test_nothing_that_changes_a_step_waits_for_the_device(
    kind: str, sampler: str, gpu: tuple[SimulatedGpu, Client]
) -> None:
    assert waits(gpu, **KINDS[kind], sampler=sampler) == [AT_THE_END] * 2


def test_images_that_share_steps_wait_for_the_device_no_more_often(gpu: tuple[SimulatedGpu, Client]) -> None:
    found = waits(gpu, n=4, reproducible=False)
    assert max(found) <= 4 * AT_THE_END


@pytest.mark.parametrize(("capability", "dtype"), [((9, 0), "bfloat16"), ((7, 5), "float16")])
def test_it_computes_in_the_16_bits_that_the_device_is_fast_in(
    capability: tuple[int, int], dtype: str, cpu: dict[str, list[np.ndarray[Any, Any]]]
) -> None:
    with simulated_gpus(capability=capability), served("cuda", dtype="auto") as client:
        [image] = made(client)
        assert {part["dtype"] for part in client.get("/pool").json()["components"]} == {dtype}
    difference = image.astype(float) - cpu["text"][0]
    assert 10 * np.log10(255**2 / (difference**2).mean()) > 25
