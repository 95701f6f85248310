"""Servers on several simulated CUDA devices, and on one that is lost."""

import numpy as np
import pytest
from litestar import Litestar
from litestar.testing import TestClient

from tests.simulated_gpu import simulated_gpus
from tests.simulated_gpu.served import PROMPT, made, pixels_of, served

pytestmark = pytest.mark.slow

GIB = 1024**3


def test_each_of_two_devices_makes_the_images_of_one() -> None:
    with served("cpu") as client:
        alone = [made(client, seed=seed)[0] for seed in range(2)]
    with simulated_gpus(GIB, GIB) as gpus, served("cuda:0", "cuda:1") as client:
        jobs = [client.post("/jobs/demo", json={**PROMPT, "seed": seed % 2}).json() for seed in range(8)]
        for job in jobs:
            with client.stream("GET", f"{job['url']}/events") as events:
                assert "event: done" in "".join(events.iter_text())
        assert min(gpu.launches for gpu in gpus) > 0, "a device had nothing to do"
        for seed in range(2):
            np.testing.assert_array_equal(made(client, seed=seed)[0], alone[seed])
        assert [device["name"] for device in client.get("/pool").json()["devices"]] == ["cuda:0", "cuda:1"]


def out(client: TestClient[Litestar]) -> list[bool]:
    return [not device["serves"] for device in client.get("/pool").json()["devices"]]


def test_a_device_that_is_lost_in_the_middle_is_told_and_the_other_goes_on() -> None:
    with simulated_gpus(GIB, GIB) as gpus, served("cuda:0", "cuda:1") as client:
        expected = made(client)[0]
        gpus[0].lose(after=500)  # an image takes about a thousand
        answer = client.post("/generate/demo", json=PROMPT)
        assert (answer.status_code, answer.json()["code"]) == (503, "device_lost")
        assert out(client) == [True, False]
        np.testing.assert_array_equal(made(client)[0], expected)
        assert client.get("/health/live").status_code == 200
        gpus[1].lose(after=500)
        assert client.post("/generate/demo", json=PROMPT).json()["code"] == "device_lost"
        assert client.get("/health/live").status_code == 503


def test_jobs_of_a_device_that_is_lost_end_on_the_other() -> None:
    with simulated_gpus(GIB, GIB) as gpus, served("cuda:0", "cuda:1") as client:
        expected = made(client)[0]
        gpus[0].lose(after=500)
        urls = [client.post("/jobs/demo", json=PROMPT).json()["url"] for _ in range(4)]
        for url in urls:
            with client.stream("GET", f"{url}/events") as events:
                assert "event: done" in "".join(events.iter_text())
            result = client.get(url).json()["result"]
            np.testing.assert_array_equal(pixels_of(result)[0], expected)
        assert sum(client.get(url).json()["restarts"] for url in urls) == 1, "only what it had begun begins again"
        assert out(client) == [True, False]


def test_a_single_device_that_is_lost_fails_the_probe() -> None:
    with simulated_gpus() as [gpu], served("cuda") as client:
        made(client)
        gpu.lose()
        answer = client.post("/generate/demo", json=PROMPT)
        assert (answer.status_code, answer.json()["code"]) == (503, "device_lost")
        assert client.get("/health/live").status_code == 503
