"""Clusters that grow with their queue, and that are told to end; each test starts one of its own."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.cluster.ray_cluster import RED, ended, generate, serving, until_workers, workers
from tests.pictures import images_of

pytest.importorskip("ray", reason="the extra `ray` is not installed")
pytestmark = pytest.mark.slow

ONE = {"LITESTAR_DIFFUSION__CLUSTER__WORKERS": "1"}
LONG = {**RED, "num_inference_steps": 150, "width": 256, "height": 256}


def test_a_worker_is_added_while_the_queue_is_long(tmp_path: Path) -> None:
    growing = {"LITESTAR_DIFFUSION__CLUSTER__MAX_WORKERS": "2", "LITESTAR_DIFFUSION__CLUSTER__TARGET_WAIT_S": "4"}
    with serving(tmp_path, **ONE, **growing) as (client, _):
        assert len(workers()) == 1
        jobs = [client.post("/jobs/demo", json={**LONG, "seed": seed}).json() for seed in range(24)]
        assert until_workers(2)
        for job in jobs[2:]:
            client.delete(job["url"])
        assert [ended(client, job["url"])["state"] for job in jobs[:2]] == ["done", "done"]


def test_what_runs_when_it_is_told_to_end_is_finished_and_answered(tmp_path: Path) -> None:
    with serving(tmp_path, **ONE) as (client, process):
        long = {"num_inference_steps": 150, "width": 192, "height": 192}  # longer than Ray gives a process by itself
        expected = images_of(generate(client, "demo", **long))
        with ThreadPoolExecutor(1) as waiting:
            answer = waiting.submit(generate, client, "demo", **long)
            time.sleep(1.0)
            assert not answer.done(), "it is too fast to be interrupted"
            process.terminate()
            assert images_of(answer.result(60)) == expected
        assert process.wait(60) in (0, 130)
